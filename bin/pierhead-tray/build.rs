//! Draws the icon from `assets/icon/*.svg` at every size that panels use, as the pixels that the tray hands over.

// What a build writes nobody reads before it has ended.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::{Path, PathBuf};

use resvg::tiny_skia::{Pixmap, PremultipliedColorU8, Transform};
use resvg::usvg::{Options, Tree};

const SIZES: [u16; 6] = [16, 22, 24, 32, 48, 64];
const LAMPS: [&str; 4] = ["off", "ready", "busy", "failed"];

fn main() -> Result<(), Box<dyn Error>> {
    let drawings = Path::new("../../assets/icon");
    println!("cargo:rerun-if-changed={}", drawings.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for lamp in LAMPS {
        let drawing = std::fs::read(drawings.join(lamp).with_extension("svg"))?;
        let tree = Tree::from_data(&drawing, &Options::default())?;
        for size in SIZES {
            std::fs::write(out.join(format!("{lamp}-{size}.rgba")), pixels(&tree, size)?)?;
        }
    }
    Ok(())
}

/// Red, green, blue and opacity of each pixel, not multiplied with one another, as icons want them.
fn pixels(tree: &Tree, size: u16) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut pixmap = Pixmap::new(size.into(), size.into()).ok_or("a size is not nought")?;
    let scale = f32::from(size) / tree.size().width();
    resvg::render(tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    Ok(pixmap
        .pixels()
        .iter()
        .map(PremultipliedColorU8::demultiply)
        .flat_map(|c| [c.red(), c.green(), c.blue(), c.alpha()])
        .collect())
}
