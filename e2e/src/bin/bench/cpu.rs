use std::time::Duration;

use anyhow::Context as _;

/// `USER_HZ`: the unit in which the kernel tells times to programs, whatever its own clock is.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of a process's threads, living and ended. `process` is its id, or `self`.
pub(crate) fn cpu_time(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = parse(&stat).with_context(|| format!("/proc/{process}/stat has another form: {stat}"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Fields 14 and 15. The second, the program's name in parentheses, may hold anything.
fn parse(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_look_like_fields() {
        let stat = "42 (a b) 7) R 1 42 42 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 5 0 777 1 2 3";
        assert_eq!(parse(stat), Some(300));
        assert_eq!(parse("42 (cut off) R 1"), None);
    }
}
