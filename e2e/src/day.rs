//! Makes a day of trades like a real one: bursts, shared milliseconds, late prints.

use std::io::Write as _;
use std::path::Path;

use cqrs::domain::Timestamp;

/// Writes a CSV file as the `replay` provider reads it. The same seed makes the same day.
///
/// # Errors
/// If the file can't be written.
pub fn write(path: &Path, tickers: &[(&str, f64)], trades: usize, seed: u64) -> anyhow::Result<()> {
    let mut random = SplitMix(seed);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "timestamp,ticker,price,volume")?;
    let mut prices: Vec<f64> = tickers.iter().map(|(_, price)| *price).collect();
    let mut now_ms: i64 = 1_381_132_800_000;
    for _ in 0..trades {
        let ticker = usize::try_from(random.below(tickers.len() as u64))?;
        // Two of five trades share the millisecond of the one before.
        if random.below(5) >= 2 {
            now_ms += i64::try_from(random.below(4_000))?;
        }
        // One of a thousand is reported late, with a price that would have fired.
        let late = random.below(1_000) == 0;
        let price = &mut prices[ticker];
        let steps = f64::from(u32::try_from(random.below(9))?) - 4.0;
        let first = tickers[ticker].1;
        *price = (*price + steps * first * 0.000_15).clamp(first * 0.97, first * 1.03);
        let (time, shown) = if late {
            (now_ms - 60_000, *price * 1.05)
        } else {
            (now_ms, *price)
        };
        let timestamp = Timestamp::from_micros(time * 1_000);
        writeln!(
            file,
            "{timestamp},{},{shown:.2},{}",
            tickers[ticker].0,
            100 * (1 + random.below(20))
        )?;
    }
    file.flush()?;
    Ok(())
}

/// Small, seeded and good enough for test data (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
