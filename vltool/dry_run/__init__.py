"""Whether a run can begin, and what it will take, before a day is spent on it. Nothing is written to its folder."""
