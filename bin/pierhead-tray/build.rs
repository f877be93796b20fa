//! Draws the icon from `assets/icon/*.svg` at every size that panels use, as the pixels that the tray hands over.

// What a build writes nobody reads before it has ended.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::{Path, PathBuf};

use resvg::tiny_skia::{ColorU8, Pixmap, PremultipliedColorU8, Transform};
use resvg::usvg::{Options, Tree};

/// Each size with the grid it is drawn on and its margin, so that an edge lies between two pixels and not across one.
const SIZES: [(u16, &str, u8); 6] =
    [(16, "", 0), (22, "-22", 0), (24, "-22", 1), (32, "", 0), (48, "", 0), (64, "", 0)];
/// The side of the lamp before a row of the menu.
const DOT: u16 = 16;
/// The icon of the application, as desktops want it in menus. For packages: `installer/dist` takes them from where this
/// writes.
const APPLICATION: [u16; 9] = [16, 22, 24, 32, 48, 64, 128, 256, 512];
const LAMPS: [&str; 4] = ["off", "ready", "busy", "failed"];

fn main() -> Result<(), Box<dyn Error>> {
    let drawings = Path::new("../../assets/icon");
    println!("cargo:rerun-if-changed={}", drawings.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for lamp in LAMPS {
        for (size, grid, margin) in SIZES {
            let drawing = std::fs::read(drawings.join(format!("{lamp}{grid}.svg")))?;
            let tree = Tree::from_data(&drawing, &Options::default())?;
            std::fs::write(out.join(format!("{lamp}-{size}.rgba")), pixels(&drawn(&tree, size, margin.into())?))?;
        }
        let dot = format!("dot-{lamp}");
        let drawing = std::fs::read(drawings.join(&dot).with_extension("svg"))?;
        let dot_drawn = drawn(&Tree::from_data(&drawing, &Options::default())?, DOT, 0.0)?;
        std::fs::write(out.join(dot).with_extension("png"), dot_drawn.encode_png()?)?;
    }
    let tree = Tree::from_data(&std::fs::read(drawings.join("ready.svg"))?, &Options::default())?;
    for size in APPLICATION {
        std::fs::write(out.join(format!("pierhead-{size}.png")), drawn(&tree, size, 0.0)?.encode_png()?)?;
    }
    Ok(())
}

fn drawn(tree: &Tree, size: u16, margin: f32) -> Result<Pixmap, Box<dyn Error>> {
    let mut pixmap = Pixmap::new(size.into(), size.into()).ok_or("a size is not nought")?;
    let scale = (f32::from(size) - 2.0 * margin) / tree.size().width();
    resvg::render(tree, Transform::from_scale(scale, scale).post_translate(margin, margin), &mut pixmap.as_mut());
    Ok(pixmap)
}

/// Red, green, blue and opacity of each pixel, not multiplied with one another, as icons want them. The icon of a Mac is a
/// template, which is its opacity alone: there what is dark in the drawing is left out.
fn pixels(drawing: &Pixmap) -> Vec<u8> {
    let is_template = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos");
    let opacity = |c: ColorU8| {
        let is_dark = [c.red(), c.green(), c.blue()].into_iter().max() < Some(80);
        if is_template && is_dark { 0 } else { c.alpha() }
    };
    let colours = drawing.pixels().iter().map(PremultipliedColorU8::demultiply);
    colours.flat_map(|c| [c.red(), c.green(), c.blue(), opacity(c)]).collect()
}
