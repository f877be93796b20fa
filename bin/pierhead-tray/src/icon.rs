//! The drawings of the icon, as they were made when the tray was built.

use pierhead::view::menu::Lamp;
use tray_icon::{BadIcon, Icon};

/// The one size that is handed over: panels scale it. 48 is twice 24 and thrice 16, so most do so without blur.
const SIZE: u32 = if cfg!(target_os = "linux") {
    48
} else if cfg!(windows) {
    32
} else {
    64
};

macro_rules! drawing {
    ($lamp:literal) => {{
        #[cfg(target_os = "linux")]
        const PIXELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $lamp, "-48.rgba"));
        #[cfg(windows)]
        const PIXELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $lamp, "-32.rgba"));
        #[cfg(not(any(target_os = "linux", windows)))]
        const PIXELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $lamp, "-64.rgba"));
        PIXELS
    }};
}

/// The icon with this lamp.
pub(crate) fn icon(lamp: Lamp) -> Result<Icon, BadIcon> {
    Icon::from_rgba(pixels(lamp).to_vec(), SIZE, SIZE)
}

fn pixels(lamp: Lamp) -> &'static [u8] {
    match lamp {
        Lamp::Off => drawing!("off"),
        Lamp::Ready => drawing!("ready"),
        Lamp::Busy => drawing!("busy"),
        Lamp::Failed => drawing!("failed"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    const LAMPS: [&str; 4] = ["off", "ready", "busy", "failed"];

    /// Opaque where it is more than half so: what is left without colours.
    fn silhouette(lamp: &str, size: usize) -> Vec<bool> {
        let path = Path::new(env!("OUT_DIR")).join(format!("{lamp}-{size}.rgba"));
        let pixels = std::fs::read(path).unwrap();
        assert_eq!(pixels.len(), size * size * 4);
        pixels.chunks(4).map(|pixel| pixel[3] > 127).collect()
    }

    #[test]
    fn lamps_differ_by_shape_at_every_size() {
        for size in [16, 22, 24, 32, 48, 64] {
            for (at, lamp) in LAMPS.iter().enumerate() {
                for other in &LAMPS[at + 1..] {
                    let (one, two) = (silhouette(lamp, size), silhouette(other, size));
                    let different = one.iter().zip(&two).filter(|(one, two)| one != two).count();
                    assert!(different * 100 >= size * size * 3, "{lamp} and {other} look alike at {size}: {different}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_cut_off() {
        for size in [16, 22, 24, 32, 48, 64] {
            for lamp in LAMPS {
                let drawn = silhouette(lamp, size);
                let share = drawn.iter().filter(|drawn| **drawn).count() * 100 / drawn.len();
                assert!((20..70).contains(&share), "{lamp} at {size} covers {share} %");
                let (top, bottom) = (&drawn[..size], &drawn[size * (size - 1)..]);
                assert!(!top.contains(&true) || size < 24, "{lamp} at {size} touches the top");
                assert!(bottom.iter().filter(|drawn| **drawn).count() < size, "{lamp} at {size}");
            }
        }
    }
}
