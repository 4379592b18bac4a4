//! The texts of a report in one piece of memory: a report has thirty of them, and is made by one
//! thread and dropped by another, where each piece costs more than its bytes.

/// Texts, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Texts(String);

/// Where a text is among [`Texts`]; the default is the empty text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    start: u32,
    length: u32,
}

/// Bytes of all texts of a report together, far above what a body may have.
pub const MOST: usize = u32::MAX as usize;

impl Texts {
    /// Room for texts of so many bytes.
    pub fn with_capacity(bytes: usize) -> Texts {
        Texts(String::with_capacity(bytes))
    }

    /// Adds a text. One that would end beyond [`MOST`] is lost: the caller sees to that.
    pub fn add(&mut self, text: &str) -> Place {
        let (Ok(start), Ok(length)) = (self.0.len().try_into(), text.len().try_into()) else {
            return Place::default();
        };
        self.0.push_str(text);
        Place { start, length }
    }

    /// The text at a place that [`Texts::add`] gave.
    pub fn get(&self, place: Place) -> &str {
        let start = place.start as usize;
        self.0.get(start..start + place.length as usize).unwrap_or_default()
    }
}
