//! Lines, texts and marks on pixels.

use ab_glyph::{Font as _, FontRef, GlyphId, OutlineCurve, Point};
use epaint_default_fonts::UBUNTU_LIGHT;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, LinearGradient, Paint, Path, PathBuilder, Pixmap, Shader, SpreadMode,
    Stroke, StrokeDash, Transform,
};

use super::ChartError;

/// Pixels: what a phone shows at full width, three to a point.
pub(super) const WIDTH: f32 = 1_080.0;
pub(super) const HEIGHT: f32 = 810.0;

/// Where a text's given place is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// A text's look. The font is a light one: a line around its letters makes them readable, a wider one bold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Of an em, in pixels.
    pub(super) size: f32,
    pub(super) colour: Color,
    pub(super) bold: bool,
}

pub(super) struct Canvas {
    pixels: Pixmap,
    font: FontRef<'static>,
}

impl Canvas {
    pub(super) fn new() -> Result<Self, ChartError> {
        let font = FontRef::try_from_slice(UBUNTU_LIGHT).map_err(|_| ChartError::Font)?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both are whole and small"
        )]
        let mut pixels = Pixmap::new(WIDTH as u32, HEIGHT as u32)
            .ok_or_else(|| ChartError::Picture("it has no size".to_owned()))?;
        pixels.fill(Color::WHITE);
        Ok(Self { pixels, font })
    }

    pub(super) fn png(&self) -> Result<Vec<u8>, ChartError> {
        let encoded = self.pixels.encode_png();
        encoded.map_err(|error| ChartError::Picture(error.to_string()))
    }

    /// A line through these points; with `dash`, so long a piece and so long a gap.
    pub(super) fn line(
        &mut self,
        points: &[(f32, f32)],
        colour: Color,
        width: f32,
        dash: Option<(f32, f32)>,
    ) {
        let Some(path) = polygon(points, false) else {
            return;
        };
        self.stroke(&path, colour, width, dash);
    }

    /// The area within these points, fading from `top` to `bottom`.
    pub(super) fn fading_area(&mut self, points: &[(f32, f32)], colour: Color, top: f32, bottom: f32) {
        let Some(path) = polygon(points, true) else { return };
        let mut faint = colour;
        faint.set_alpha(0.0);
        let stops = vec![
            tiny_skia::GradientStop::new(0.0, colour),
            tiny_skia::GradientStop::new(1.0, faint),
        ];
        let gradient = LinearGradient::new(
            tiny_skia::Point::from_xy(0.0, top),
            tiny_skia::Point::from_xy(0.0, bottom),
            stops,
            SpreadMode::Pad,
            Transform::identity(),
        );
        if let Some(shader) = gradient {
            self.fill(&path, shader);
        }
    }

    pub(super) fn area(&mut self, points: &[(f32, f32)], colour: Color) {
        if let Some(path) = polygon(points, true) {
            self.fill(&path, Shader::SolidColor(colour));
        }
    }

    pub(super) fn disc(&mut self, x: f32, y: f32, radius: f32, colour: Color) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, Shader::SolidColor(colour));
        }
    }

    /// A rectangle with round ends.
    pub(super) fn pill(&mut self, left: f32, middle: f32, width: f32, height: f32, colour: Color) {
        let radius = height / 2.0;
        let ends = [(left + radius, middle), (left + width - radius, middle)];
        let Some(path) = polygon(&ends, false) else { return };
        self.stroke(&path, colour, height, None);
    }

    /// Writes a text; `y` is the middle of its capitals. Gives its width.
    pub(super) fn text(&mut self, text: &str, x: f32, y: f32, align: Align, style: Style) -> f32 {
        let width = self.width(text, style.size);
        let left = match align {
            Align::Left => x,
            Align::Middle => x - width / 2.0,
            Align::Right => x - width,
        };
        let scale = self.scale(style.size);
        // Capitals are about seven tenths of an em high.
        let baseline = y + style.size * 0.35;
        let mut path = PathBuilder::new();
        let mut pen = left;
        let mut before: Option<GlyphId> = None;
        for character in text.chars() {
            let glyph = self.font.glyph_id(character);
            if let Some(before) = before {
                pen += self.font.kern_unscaled(before, glyph) * scale;
            }
            if let Some(outline) = self.font.outline(glyph) {
                add(&mut path, &outline.curves, pen, baseline, scale);
            }
            pen += self.font.h_advance_unscaled(glyph) * scale;
            before = Some(glyph);
        }
        if let Some(path) = path.finish() {
            self.fill(&path, Shader::SolidColor(style.colour));
            let weight = if style.bold { 0.055 } else { 0.02 };
            self.stroke(&path, style.colour, style.size * weight, None);
        }
        width
    }

    /// How wide a text is.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        let scale = self.scale(size);
        let mut before: Option<GlyphId> = None;
        let mut width = 0.0;
        for character in text.chars() {
            let glyph = self.font.glyph_id(character);
            if let Some(before) = before {
                width += self.font.kern_unscaled(before, glyph) * scale;
            }
            width += self.font.h_advance_unscaled(glyph) * scale;
            before = Some(glyph);
        }
        width
    }

    fn scale(&self, size: f32) -> f32 {
        size / self.font.units_per_em().unwrap_or(1_000.0)
    }

    fn fill(&mut self, path: &Path, shader: Shader<'_>) {
        let bounds = path.bounds();
        if bounds.width() == 0.0 || bounds.height() == 0.0 {
            // Nothing to see, and the library would warn of it.
            return;
        }
        let paint = Paint {
            shader,
            anti_alias: true,
            ..Paint::default()
        };
        self.pixels
            .fill_path(path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    fn stroke(&mut self, path: &Path, colour: Color, width: f32, dash: Option<(f32, f32)>) {
        let mut paint = Paint::default();
        paint.set_color(colour);
        let stroke = Stroke {
            width,
            line_cap: if dash.is_some() {
                LineCap::Butt
            } else {
                LineCap::Round
            },
            line_join: LineJoin::Round,
            dash: dash.and_then(|(piece, gap)| StrokeDash::new(vec![piece, gap], 0.0)),
            ..Stroke::default()
        };
        self.pixels
            .stroke_path(path, &paint, &stroke, Transform::identity(), None);
    }
}

/// None of less than one point.
fn polygon(points: &[(f32, f32)], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    if closed {
        path.close();
    }
    path.finish()
}

/// A letter's curves, whose ordinate grows upwards, at this place.
fn add(path: &mut PathBuilder, curves: &[OutlineCurve], left: f32, baseline: f32, scale: f32) {
    let at = |point: Point| (left + point.x * scale, baseline - point.y * scale);
    let mut end: Option<Point> = None;
    for curve in curves {
        let (start, next) = match curve {
            OutlineCurve::Line(start, next)
            | OutlineCurve::Quad(start, _, next)
            | OutlineCurve::Cubic(start, _, _, next) => (*start, *next),
        };
        // A curve that does not begin where the last one ended begins another contour.
        if end != Some(start) {
            if end.is_some() {
                path.close();
            }
            let (x, y) = at(start);
            path.move_to(x, y);
        }
        let (x, y) = at(next);
        match curve {
            OutlineCurve::Line(..) => path.line_to(x, y),
            OutlineCurve::Quad(_, control, _) => {
                let (control_x, control_y) = at(*control);
                path.quad_to(control_x, control_y, x, y);
            }
            OutlineCurve::Cubic(_, first, second, _) => {
                let ((first_x, first_y), (second_x, second_y)) = (at(*first), at(*second));
                path.cubic_to(first_x, first_y, second_x, second_y, x, y);
            }
        }
        end = Some(next);
    }
    if end.is_some() {
        path.close();
    }
}
