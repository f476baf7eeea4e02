//! Three lines and one order: of twelve jobs eight are high, three normal, one low, and a line that is empty gives its turn away.
//!
//! The round goes on from one claim to the next, so that twelve claims of one job are as fair as one claim of twelve.

use std::collections::VecDeque;

use crate::model::Priority;

/// Those who are ready, by the numbers of their entries.
#[derive(Debug)]
pub(super) struct Lines {
    lines: [VecDeque<u64>; 3],
    /// How many turns each line has left in this round.
    turns: [usize; 3],
}

impl Default for Lines {
    fn default() -> Self {
        Self { lines: Default::default(), turns: Priority::ALL.map(Priority::weight) }
    }
}

impl Lines {
    pub(super) fn push(&mut self, priority: Priority, entry: u64) {
        self.lines[priority.index()].push_back(entry);
    }

    pub(super) fn push_front(&mut self, priority: Priority, entry: u64) {
        self.lines[priority.index()].push_front(entry);
    }

    /// How many stand in each line.
    pub(super) fn len(&self) -> [usize; 3] {
        [self.lines[0].len(), self.lines[1].len(), self.lines[2].len()]
    }

    /// Who is next.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.take_in_round().or_else(|| {
            self.turns = Priority::ALL.map(Priority::weight);
            self.take_in_round()
        })
    }

    fn take_in_round(&mut self) -> Option<u64> {
        let (line, turns) = self
            .lines
            .iter_mut()
            .zip(&mut self.turns)
            .find(|(line, turns)| **turns > 0 && !line.is_empty())?;
        *turns -= 1;
        line.pop_front()
    }

    #[cfg(test)]
    pub(super) fn iter(&self, priority: Priority) -> impl Iterator<Item = u64> + '_ {
        self.lines[priority.index()].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(counts: [u64; 3]) -> Lines {
        let mut lines = Lines::default();
        for priority in Priority::ALL {
            for entry in 0..counts[priority.index()] {
                lines.push(priority, 100 * priority.index() as u64 + entry);
            }
        }
        lines
    }

    fn take(lines: &mut Lines, count: usize) -> Vec<u64> {
        (0..count).filter_map(|_| lines.take()).collect()
    }

    #[test]
    fn a_round_is_eight_three_one_oldest_first() {
        let mut lines = with([99, 99, 99]);
        let round = take(&mut lines, 12);
        assert_eq!(round, [0, 1, 2, 3, 4, 5, 6, 7, 100, 101, 102, 200]);
        assert_eq!(take(&mut lines, 12)[7..9], [15, 103]);
    }

    #[test]
    fn an_empty_line_gives_its_turns_away() {
        assert_eq!(take(&mut with([0, 0, 5]), 9), [200, 201, 202, 203, 204]);
        assert_eq!(take(&mut with([1, 5, 2]), 9), [0, 100, 101, 102, 200, 103, 104, 201]);
    }

    #[test]
    fn the_last_line_is_never_starved() {
        let mut lines = with([99, 0, 1]);
        assert!(take(&mut lines, 12).contains(&200));
    }
}
