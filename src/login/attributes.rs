//! Free-form attributes of a report or of a call of a custom endpoint: names with one value each,
//! and names with a list of values.

use crate::login::text::{Place, Texts};

/// Attributes in the order in which they came. A name may come twice; the last one counts.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    pub(super) texts: Texts,
    pub(super) entries: Vec<Entry>,
}

/// A piece of an attribute, whose texts are elsewhere.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// A name and its one value.
    One(Place, Place),
    /// A name and how many values it has, which are the entries that follow.
    Many(Place, u32),
    /// One of several values.
    Item(Place),
}

/// The value of an attribute.
pub enum Value<'a> {
    One(&'a str),
    Many(Items<'a>),
}

/// The values of one name.
pub struct Items<'a> {
    texts: &'a Texts,
    entries: &'a [Entry],
}

impl Attributes {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        iter(&self.texts, &self.entries)
    }
}

/// Names and values of attributes whose texts are among others.
pub fn iter<'a>(texts: &'a Texts, entries: &'a [Entry]) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    entries.iter().enumerate().filter_map(|(at, entry)| match *entry {
        Entry::One(name, value) => Some((texts.get(name), Value::One(texts.get(value)))),
        Entry::Many(name, count) => {
            let entries = entries[at + 1..].get(..count as usize).unwrap_or_default();
            Some((texts.get(name), Value::Many(Items { texts, entries })))
        }
        Entry::Item(_) => None,
    })
}

impl<'a> Items<'a> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let texts = self.texts;
        self.entries.iter().filter_map(|entry| match *entry {
            Entry::Item(value) => Some(texts.get(value)),
            Entry::One(..) | Entry::Many(..) => None,
        })
    }
}
