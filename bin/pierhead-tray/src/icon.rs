//! The drawings of the icon, as they were made when the tray was built.

use pierhead::view::menu::Lamp;

/// A square picture: its side, and red, green, blue and opacity of each pixel.
pub(crate) type Picture = (u16, &'static [u8]);

macro_rules! picture {
    ($lamp:literal, $size:literal) => {
        ($size, include_bytes!(concat!(env!("OUT_DIR"), "/", $lamp, "-", $size, ".rgba")) as &[u8])
    };
}

/// The sizes that the platform is given: panels of Linux choose one, the others scale the one they get.
macro_rules! pictures {
    ($lamp:literal) => {{
        #[cfg(target_os = "linux")]
        const PICTURES: &[Picture] = &[
            picture!($lamp, 16),
            picture!($lamp, 22),
            picture!($lamp, 24),
            picture!($lamp, 32),
            picture!($lamp, 48),
            picture!($lamp, 64),
        ];
        #[cfg(windows)]
        const PICTURES: &[Picture] = &[picture!($lamp, 32)];
        #[cfg(not(any(target_os = "linux", windows)))]
        const PICTURES: &[Picture] = &[picture!($lamp, 64)];
        PICTURES
    }};
}

/// The icon with this lamp, at least at one size, from the smallest.
pub(crate) fn pictures(lamp: Lamp) -> &'static [Picture] {
    match lamp {
        Lamp::Off => pictures!("off"),
        Lamp::Ready => pictures!("ready"),
        Lamp::Busy => pictures!("busy"),
        Lamp::Failed => pictures!("failed"),
    }
}

/// The lamp before a row of the menu, as PNG: signs of letters come from many fonts, and none lines up with the next.
#[cfg(target_os = "linux")]
pub(crate) fn dot(lamp: Lamp) -> &'static [u8] {
    macro_rules! dot {
        ($lamp:literal) => {
            include_bytes!(concat!(env!("OUT_DIR"), "/dot-", $lamp, ".png"))
        };
    }
    match lamp {
        Lamp::Off => dot!("off"),
        Lamp::Ready => dot!("ready"),
        Lamp::Busy => dot!("busy"),
        Lamp::Failed => dot!("failed"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    const LAMPS: [&str; 4] = ["off", "ready", "busy", "failed"];
    const SIZES: [usize; 6] = [16, 22, 24, 32, 48, 64];

    /// How opaque each pixel is.
    fn opacity(lamp: &str, size: usize) -> Vec<u8> {
        let path = Path::new(env!("OUT_DIR")).join(format!("{lamp}-{size}.rgba"));
        let pixels = std::fs::read(path).unwrap();
        assert_eq!(pixels.len(), size * size * 4);
        pixels.chunks(4).map(|pixel| pixel[3]).collect()
    }

    /// Opaque where it is more than half so: what is left without colours.
    fn silhouette(lamp: &str, size: usize) -> Vec<bool> {
        opacity(lamp, size).iter().map(|opacity| *opacity > 127).collect()
    }

    #[test]
    fn lamps_differ_by_shape_at_every_size() {
        for size in SIZES {
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
    fn lamps_fill_their_place() {
        for size in SIZES {
            for lamp in LAMPS {
                let drawn = silhouette(lamp, size);
                let share = drawn.iter().filter(|drawn| **drawn).count() * 100 / drawn.len();
                assert!((30..70).contains(&share), "{lamp} at {size} covers {share} %");
            }
        }
    }

    #[test]
    fn edges_lie_between_pixels() {
        for size in SIZES {
            for lamp in LAMPS {
                let pixels = opacity(lamp, size);
                let blurred = pixels.iter().filter(|opacity| (1..255).contains(*opacity)).count();
                // Only the slopes of beams, dome and cross: their length grows with the size, the area with its square.
                assert!(
                    blurred * 4 <= size * 9,
                    "{lamp} at {size} has {blurred} pixels that are neither inside nor outside"
                );
                let foot = &pixels[size * (size - size / 8)..];
                assert!(foot.iter().all(|opacity| matches!(opacity, 0 | 255)), "{lamp} stands on a blur at {size}");
            }
        }
    }
}
