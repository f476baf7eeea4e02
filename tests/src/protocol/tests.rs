use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use super::*;

/// Looked at once, for all tests.
static REAL: LazyLock<Found> = LazyLock::new(|| search(&World::REAL, Promise::ALL));

/// Without faults there are few states.
const CALM: World = World { most_faults: 0, ..World::REAL };

/// The decisions that break no promise on their own: the sweep mends what they spoil.
const SECOND_LINES: [Rule; 1] = [Rule::CommitBeforeAnswer];

/// What each decision is there for: these promises break without it.
fn guarded(rule: Rule) -> &'static [Promise] {
    use Promise::*;
    match rule {
        Rule::CreateOnly => &[RowHasObject, AcknowledgedIsKept],
        Rule::ObjectBeforeJob => &[AcknowledgedIsKept],
        Rule::RepeatComparesContent => &[AcknowledgedIsKept],
        Rule::RepeatWaitsForSync => &[AcknowledgedIsKept],
        Rule::RepeatAsksLedger => &[RepeatKnowsDeletion],
        Rule::LedgerDecides => &[UsageIsExact, EventsAreExact, DeletedStaysDeleted],
        Rule::CommitBeforeAnswer => &[],
        Rule::UnclearIsNotMissing => &[AcknowledgedIsKept],
        Rule::RejectedIsKept => &[AcknowledgedIsKept],
        Rule::TombstoneBeforeBytes => &[RowHasObject],
        Rule::TombstoneStays => &[DeletedStaysDeleted, EventsAreExact],
        Rule::RemovalIsSynced => &[NothingLeaks],
        Rule::BytesBeforePurged => &[NothingLeaks],
        Rule::Sweep => &[AcknowledgedIsKept, NothingLeaks],
        Rule::SweepLetsSettle => &[RowHasObject],
        Rule::SweepRemovesWhatItMeets => &[NothingLeaks],
        Rule::ReachOutlastsUploads => &[AcknowledgedIsKept],
    }
}

/// The way to a breach of `promise`, printed: a failing test shows it, and so does `--nocapture`.
fn breach(world: &World, promise: Promise) -> Option<Breach> {
    let breach = search(world, &[promise]).breach?;
    println!("{breach}\n");
    Some(breach)
}

#[test]
fn every_promise_is_kept_in_every_state() {
    let Found { states, at_rest, breach, .. } = &*REAL;
    println!("{states} states, {at_rest} of them at rest");
    if let Some(breach) = breach {
        panic!("{breach}\n{:#?}", breach.state);
    }
    // Fewer than these, and the model has lost a part of itself.
    assert!(*states > 100_000 && *at_rest > 100, "only {states} states, {at_rest} of them at rest");
}

#[test]
fn without_each_decision_a_promise_breaks() {
    for &rule in Rule::ALL {
        let world = World { rules: Rules::ALL.without(rule), ..World::REAL };
        assert_eq!(guarded(rule).is_empty(), SECOND_LINES.contains(&rule), "{rule:?}");
        for &promise in guarded(rule) {
            println!("Not: {rule}.");
            assert!(breach(&world, promise).is_some(), "{rule:?} guards no {promise:?}");
        }
    }
}

#[test]
fn committing_before_the_answer_is_all_that_a_durable_queue_without_a_sweep_needs() {
    let rules = Rules::ALL.without(Rule::Sweep);
    let world = World { rules, faults: &[Act::CrashProcessor, Act::LapseLease], most_faults: 3 };
    assert_eq!(breach(&world, Promise::AcknowledgedIsKept), None);
    let careless = World { rules: rules.without(Rule::CommitBeforeAnswer), ..world };
    let breach = breach(&careless, Promise::AcknowledgedIsKept).unwrap();
    assert_eq!(breach.trace.last().unwrap().act, Act::CrashProcessor);
}

#[test]
fn the_sweep_mends_what_was_answered_too_early() {
    let rules = Rules::ALL.without(Rule::CommitBeforeAnswer);
    let world = World { rules, faults: &[Act::CrashProcessor], most_faults: 1 };
    let found = search(&world, Promise::ALL);
    assert!(found.breach.is_none() && found.acts.contains(&Act::CrashProcessor), "{found:?}");
}

#[test]
fn every_step_is_taken_somewhere() {
    let without = |rule| search(&World { rules: Rules::ALL.without(rule), ..CALM }, &[]).acts;
    let mut acts: BTreeSet<Act> = REAL.acts.clone();
    // These are steps of other protocols.
    for rule in [Rule::ObjectBeforeJob, Rule::TombstoneBeforeBytes] {
        acts.extend(without(rule));
    }
    let never: Vec<_> = Act::ALL.iter().filter(|act| !acts.contains(act)).collect();
    assert!(never.is_empty(), "{never:?}");
    assert_eq!(Act::ALL.len() - REAL.acts.len(), 3, "{:?}", REAL.acts);
}

#[test]
fn a_search_finds_the_same_each_time() {
    assert_eq!(search(&CALM, Promise::ALL), search(&CALM, Promise::ALL));
    let broken = World { rules: Rules::ALL.without(Rule::Sweep), ..World::REAL };
    assert_eq!(search(&broken, Promise::ALL), search(&broken, Promise::ALL));
}

#[test]
fn a_trace_can_be_walked_from_the_beginning_to_its_state() {
    let world = World { rules: Rules::ALL.without(Rule::RepeatWaitsForSync), ..World::REAL };
    let Breach { trace, state, .. } = search(&world, &[Promise::RowHasObject]).breach.unwrap();
    let mut here: HashSet<_> = [state::Content::One, state::Content::Other].map(State::before).into();
    for taken in trace {
        let next = here.iter().flat_map(|state| steps(state, world.rules));
        here = next.filter(|(step, _)| *step == taken).map(|(_, after)| after).collect();
    }
    assert!(here.contains(&state));
}
