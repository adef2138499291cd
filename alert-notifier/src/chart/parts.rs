//! What the picture consists of, and where.

use cqrs::domain::{Price, Side, Timestamp};
use tiny_skia::Color;

use super::ChartSpec;
use super::canvas::{Align, Canvas, HEIGHT, Style, WIDTH};
use super::scale::{Prices, gap, moments};
use crate::text::words;

// The room for the price line; prices are named to its right, moments below.
const LEFT: f32 = 36.0;
const RIGHT: f32 = 918.0;
const TOP: f32 = 172.0;
const BOTTOM: f32 = 716.0;

/// Of axis names: nine points on a phone.
const SMALL: f32 = 30.0;
/// Between the middles of two labels.
const LABEL_HEIGHT: f32 = 44.0;
/// A threshold further away than this many times the prices' range does not flatten the line: only its label is shown.
const FAR: f64 = 1.5;

const INK: (u8, u8, u8) = (33, 37, 41);
const GREY: (u8, u8, u8) = (110, 118, 126);
const RULER: (u8, u8, u8) = (230, 233, 236);
const LINE: (u8, u8, u8) = (47, 62, 94);
const ABOVE: (u8, u8, u8) = (200, 55, 20);
const BELOW: (u8, u8, u8) = (18, 98, 180);
const UP: (u8, u8, u8) = (28, 120, 70);
const DOWN: (u8, u8, u8) = (190, 40, 50);

fn colour((red, green, blue): (u8, u8, u8)) -> Color {
    Color::from_rgba8(red, green, blue, 255)
}

fn side_colour(side: Side) -> Color {
    colour(match side {
        Side::Above => ABOVE,
        Side::Below => BELOW,
        Side::In => GREY,
    })
}

const fn style(size: f32, colour: Color, bold: bool) -> Style {
    Style { size, colour, bold }
}

/// How prices and times lie on the picture.
pub(super) struct Frame<'a> {
    spec: &'a ChartSpec,
    prices: Prices,
    from: Timestamp,
    to: Timestamp,
}

impl<'a> Frame<'a> {
    /// `points` in order of time, and not empty.
    pub(super) fn new(
        points: &[(Timestamp, Price)],
        thresholds: &[(Side, Price)],
        spec: &'a ChartSpec,
    ) -> Self {
        let values = || points.iter().map(|(_, price)| price.to_f64());
        let (mut low, mut high) = values().fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // A quiet day shall not push the rule's thresholds out of the picture.
        let reach = FAR * (high - low).max(high * 0.01);
        let near = low - reach..=high + reach;
        for (_, price) in thresholds {
            let value = price.to_f64();
            if near.contains(&value) {
                low = low.min(value);
                high = high.max(value);
            }
        }
        let from = points.first().map_or(Timestamp::EPOCH, |(at, _)| *at);
        let to = points.last().map_or(Timestamp::EPOCH, |(at, _)| *at);
        Self {
            spec,
            prices: Prices::around(low, high),
            from,
            to,
        }
    }

    /// The ticker and period, the last price and its change.
    pub(super) fn heading(&self, canvas: &mut Canvas, first: Price, last: Price) {
        let (spec, right) = (self.spec, WIDTH - LEFT);
        let price = words::amount(last, &spec.currency, spec.language);
        let price_width = canvas.text(&price, right, 52.0, Align::Right, style(50.0, colour(INK), true));
        let tone = if last >= first { UP } else { DOWN };
        let change = words::change(first, last, spec.language);
        let change_width = canvas.text(
            &change,
            right,
            114.0,
            Align::Right,
            style(36.0, colour(tone), false),
        );
        let ticker = style(50.0, colour(INK), true);
        fitted(
            canvas,
            spec.ticker.as_str(),
            52.0,
            right - price_width - 40.0,
            ticker,
        );
        let period = style(36.0, colour(GREY), false);
        fitted(canvas, &spec.period, 114.0, right - change_width - 40.0, period);
    }

    /// The axes: prices with lines across, moments with ticks, and whose clock it is.
    pub(super) fn grid(&self, canvas: &mut Canvas) {
        let grey = style(SMALL, colour(GREY), false);
        for price in self.prices.ticks() {
            let y = self.y(price);
            canvas.line(&[(LEFT, y), (RIGHT, y)], colour(RULER), 2.0, None);
            let name = self.prices.name(price, self.spec.language);
            // As large as there is room for.
            let room = WIDTH - RIGHT - 20.0;
            let size = SMALL * (room / canvas.width(&name, SMALL)).min(1.0);
            canvas.text(
                &name,
                RIGHT + 12.0,
                y,
                Align::Left,
                style(size, grey.colour, false),
            );
        }
        canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], colour(GREY), 2.0, None);
        let mut free_from = 0.0;
        for (at, name) in moments(self.from, self.to, &self.spec.time_zone, self.spec.language) {
            let (x, half) = (self.x(at), canvas.width(&name, SMALL) / 2.0);
            canvas.line(&[(x, BOTTOM), (x, BOTTOM + 10.0)], colour(GREY), 2.0, None);
            if x - half >= free_from && x + half <= WIDTH - 8.0 {
                canvas.text(&name, x, BOTTOM + 34.0, Align::Middle, grey);
                free_from = x + half + 14.0;
            }
        }
        let zone = self.spec.time_zone.name().replace('_', " ");
        canvas.text(
            &zone,
            WIDTH - LEFT,
            HEIGHT - 20.0,
            Align::Right,
            style(22.0, grey.colour, false),
        );
    }

    /// The price, with the area below it; where no prices came for long, dots lead on.
    pub(super) fn price_line(&self, canvas: &mut Canvas, points: &[(Timestamp, Price)]) {
        let longest = gap(self.from, self.to);
        let pieces = points.chunk_by(|before, next| next.0.since(before.0) <= longest);
        let mut tint = colour(LINE);
        tint.set_alpha(0.22);
        let mut end: Option<(f32, f32)> = None;
        for piece in pieces {
            let line: Vec<_> = piece.iter().map(|(at, price)| self.place(*at, *price)).collect();
            let (Some(first), Some(last)) = (line.first().copied(), line.last().copied()) else {
                continue;
            };
            if let Some(end) = end {
                canvas.line(&[end, first], colour(GREY), 3.0, Some((4.0, 10.0)));
            }
            let mut area = line.clone();
            area.extend([(last.0, BOTTOM), (first.0, BOTTOM)]);
            canvas.fading_area(&area, tint, TOP, BOTTOM);
            canvas.line(&line, colour(LINE), 4.5, None);
            end = Some(last);
        }
    }

    /// A dashed line each, with its price in a pill at the left; an arrow alone for those outside the picture.
    pub(super) fn thresholds(&self, canvas: &mut Canvas, thresholds: &[(Side, Price)]) {
        let mut labels: Vec<(f32, Side, String)> = Vec::new();
        for (side, price) in thresholds {
            let exact = self.y(price.to_f64());
            if (TOP..=BOTTOM).contains(&exact) {
                canvas.line(
                    &[(LEFT, exact), (RIGHT, exact)],
                    side_colour(*side),
                    3.0,
                    Some((16.0, 10.0)),
                );
            }
            let label = words::price(*price, self.spec.language);
            labels.push((exact.clamp(TOP, BOTTOM - LABEL_HEIGHT / 2.0), *side, label));
        }
        for (y, side, label) in spread(labels) {
            let text = style(28.0, Color::WHITE, true);
            let width = canvas.width(&label, text.size) + 58.0;
            canvas.pill(LEFT, y, width, LABEL_HEIGHT - 6.0, side_colour(side));
            arrow(canvas, LEFT + 22.0, y, 9.0, side, Color::WHITE);
            canvas.text(&label, LEFT + 40.0, y, Align::Left, text);
        }
    }

    /// A mark each, pointing to where the price went.
    pub(super) fn breaches(&self, canvas: &mut Canvas, breaches: &[(Timestamp, Price, Side)]) {
        for (at, price, side) in breaches {
            if !(self.from..=self.to).contains(at) {
                continue;
            }
            let (x, y) = self.place(*at, *price);
            let y = y.clamp(TOP, BOTTOM);
            canvas.disc(x, y, 20.0, Color::WHITE);
            canvas.disc(x, y, 17.0, side_colour(*side));
            arrow(canvas, x, y, 9.0, *side, Color::WHITE);
        }
    }

    /// Where the price is now.
    pub(super) fn last_price(&self, canvas: &mut Canvas, (at, price): (Timestamp, Price)) {
        let (x, y) = self.place(at, price);
        canvas.disc(x, y, 12.0, Color::WHITE);
        canvas.disc(x, y, 8.0, colour(LINE));
    }

    fn place(&self, at: Timestamp, price: Price) -> (f32, f32) {
        (self.x(at), self.y(price.to_f64()))
    }

    fn x(&self, at: Timestamp) -> f32 {
        let whole = self.to.since(self.from).as_secs_f64();
        if whole > 0.0 {
            LEFT + pixels(at.since(self.from).as_secs_f64() / whole, RIGHT - LEFT)
        } else {
            f32::midpoint(LEFT, RIGHT)
        }
    }

    fn y(&self, price: f64) -> f32 {
        let share = (price - self.prices.low) / (self.prices.high - self.prices.low);
        BOTTOM - pixels(share, BOTTOM - TOP)
    }
}

/// Text at the left edge, smaller if it needs to be, down to half; then cut.
fn fitted(canvas: &mut Canvas, text: &str, y: f32, right: f32, style: Style) {
    let (room, width) = (right - LEFT, canvas.width(text, style.size));
    let size = style.size * (room / width).clamp(0.6, 1.0);
    let style = Style { size, ..style };
    if canvas.width(text, size) <= room {
        canvas.text(text, LEFT, y, Align::Left, style);
        return;
    }
    let mut cut = text.to_owned();
    while !cut.is_empty() && canvas.width(&cut, size) + size > room {
        cut.pop();
    }
    canvas.text(
        &format!("{}\u{2026}", cut.trim_end()),
        LEFT,
        y,
        Align::Left,
        style,
    );
}

/// A triangle with its tip where the side lies.
fn arrow(canvas: &mut Canvas, x: f32, y: f32, half: f32, side: Side, colour: Color) {
    let up = match side {
        Side::Above => -half,
        Side::Below => half,
        Side::In => return,
    };
    let base = y - up * 0.8;
    canvas.area(&[(x - half, base), (x + half, base), (x, y + up)], colour);
}

/// Moves labels apart that would cover one another, down first, then up from the bottom.
fn spread(mut labels: Vec<(f32, Side, String)>) -> Vec<(f32, Side, String)> {
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = f32::MIN;
    for label in &mut labels {
        label.0 = label.0.max(free);
        free = label.0 + LABEL_HEIGHT;
    }
    let mut free = BOTTOM - LABEL_HEIGHT / 2.0;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(free);
        free = label.0 - LABEL_HEIGHT;
    }
    labels
}

/// A share of a length in pixels; what lies far outside stays near enough to be drawn.
fn pixels(share: f64, length: f32) -> f32 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "bounded, and a pixel is exact enough"
    )]
    let share = share.clamp(-10.0, 10.0) as f32;
    share * length
}
