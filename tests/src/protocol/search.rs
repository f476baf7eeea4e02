//! Looks at every state that can be reached: those without a fault first, then those with one, and so on; among these, those with
//! fewer steps first. So no state is looked at twice, and the first breach found is a simplest one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    iter,
};

use super::{
    Promise,
    rule::Rules,
    state::{Content, State},
    step::{Act, Kind, Step, steps},
};

/// A world in which the protocol has to hold.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The decisions that are kept.
    pub rules: Rules,
    /// What may break.
    pub faults: &'static [Act],
    /// How often, in one run.
    pub most_faults: u8,
}

impl World {
    /// The protocol as it is meant, and up to three faults of any kind.
    pub const REAL: Self = Self { rules: Rules::ALL, faults: Act::ALL, most_faults: 3 };
}

/// What a search came to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// How many states were looked at.
    pub states: usize,
    /// In how many of them everything had come to rest.
    pub at_rest: usize,
    /// All that was ever done.
    pub acts: BTreeSet<Act>,
    /// A broken promise, at which the search ended.
    pub breach: Option<Breach>,
}

/// How a promise was broken, with the fewest faults and then the fewest steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// Which promise.
    pub promise: Promise,
    /// What was done, from the beginning.
    pub trace: Vec<Step>,
    /// Where that led.
    pub state: State,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}", self.promise)?;
        (1..).zip(&self.trace).try_for_each(|(number, step)| write!(f, "\n{number:4}. {step}"))
    }
}

/// Searches for a state that breaks one of `promises`; to the end, if there is none.
pub fn search(world: &World, promises: &[Promise]) -> Found {
    let mut search = Search::begin(world, promises);
    while let Some((effort, states)) = search.ahead.pop_first() {
        for (state, from) in states {
            search.visit(effort, state, from);
            if search.found.breach.is_some() {
                return search.found;
            }
        }
    }
    search.found
}

/// What it took to get somewhere. Faults count for more than steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Effort {
    faults: u8,
    steps: u16,
}

/// The state before, and the step from there; `None` at the beginning.
type From = Option<(State, Step)>;

struct Search<'a> {
    world: &'a World,
    promises: &'a [Promise],
    ahead: BTreeMap<Effort, Vec<(State, From)>>,
    visited: HashMap<State, From, BuildHasherDefault<Quick>>,
    found: Found,
}

impl<'a> Search<'a> {
    fn begin(world: &'a World, promises: &'a [Promise]) -> Self {
        let begin = [Content::One, Content::Other].map(|second| (State::before(second), None));
        let ahead = BTreeMap::from([(Effort { faults: 0, steps: 0 }, begin.to_vec())]);
        Self { world, promises, ahead, visited: HashMap::default(), found: Found::default() }
    }

    fn visit(&mut self, effort: Effort, state: State, from: From) {
        let Entry::Vacant(entry) = self.visited.entry(state) else { return };
        entry.insert(from);
        let steps = steps(&state, self.world.rules);
        let at_rest = steps.iter().all(|(step, _)| step.act.kind() != Kind::Progress);
        self.found.states += 1;
        self.found.at_rest += usize::from(at_rest);
        let broken = self.promises.iter().find(|promise| !promise.is_kept(&state, at_rest));
        self.found.breach = broken.map(|&promise| Breach { promise, trace: self.trace(state), state });
        for (step, after) in steps {
            self.go(effort, state, step, after);
        }
    }

    /// Notes where a step leads, if this world has it.
    fn go(&mut self, effort: Effort, state: State, step: Step, after: State) {
        let fault = step.act.kind() == Kind::Fault;
        if fault && (effort.faults == self.world.most_faults || !self.world.faults.contains(&step.act)) {
            return;
        }
        self.found.acts.insert(step.act);
        if !self.visited.contains_key(&after) {
            let effort = Effort { faults: effort.faults + u8::from(fault), steps: effort.steps + 1 };
            self.ahead.entry(effort).or_default().push((after, Some((state, step))));
        }
    }

    fn trace(&self, state: State) -> Vec<Step> {
        let before = |state: State| self.visited.get(&state).copied().flatten();
        let mut trace: Vec<Step> =
            iter::successors(before(state), |&(state, _)| before(state)).map(|(_, step)| step).collect();
        trace.reverse();
        trace
    }
}

/// Folds the few small numbers that a state is made of. The standard hasher takes two thirds of the time of a debug build.
#[derive(Default)]
struct Quick(u64);

impl Quick {
    fn fold(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.fold(u64::from(*byte)));
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    /// Which variant of an enum.
    fn write_isize(&mut self, number: isize) {
        self.fold(number.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
