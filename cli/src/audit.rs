//! `headworks audit`: a line for each finding, and exit code 1 if there is one.
