//! Which of a thousand patterns are worth a try: every match of `(iPhone|iPad).*OS (\d+)` contains
//! "iPhone" or "iPad", and "OS " as well. One pass over a text finds the words of all patterns
//! together, and few patterns have all of theirs in it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem;

use aho_corasick::{AhoCorasick, BuildError};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Bytes that a word must have: shorter ones are in nearly every text.
const SHORTEST: usize = 2;

/// Alternatives that are kept apart; what has more counts as anything.
const MOST: usize = 24;

/// A pattern in the form that its words are found in.
pub struct Pattern {
    pub hir: Hir,
    /// Whether it matches without regard to case.
    pub any_case: bool,
}

/// Finds the patterns of a list that a text may match.
pub struct Filter {
    finder: AhoCorasick,
    words: Vec<Word>,
    /// What each pattern needs beside the word that it is tried for: one word of each list.
    needs: Vec<Vec<Vec<usize>>>,
    /// The patterns without a word.
    always: Vec<usize>,
}

/// A word, and the patterns that are tried because of it.
struct Word {
    text: Vec<u8>,
    any_case: bool,
    patterns: Vec<usize>,
}

impl Filter {
    /// A filter of patterns that are known by their place in the list.
    pub fn new(patterns: &[Pattern]) -> Result<Filter, BuildError> {
        let (mut words, mut needs, mut always) = (Vec::new(), Vec::new(), Vec::new());
        let mut numbers = HashMap::new();
        for (place, pattern) in patterns.iter().enumerate() {
            let mut lists = Required::of(&pattern.hir, pattern.any_case).into_lists();
            // It is tried because of the words that are in the fewest texts: the longest.
            lists.sort_by_key(|list| (Reverse(shortest(list)), list.len()));
            let mut lists = lists.into_iter().map(|list| {
                let number = |text: Vec<u8>| {
                    *numbers.entry((text.clone(), pattern.any_case)).or_insert_with(|| {
                        words.push(Word { text, any_case: pattern.any_case, patterns: Vec::new() });
                        words.len() - 1
                    })
                };
                list.into_iter().map(number).collect::<Vec<usize>>()
            });
            let reasons = lists.next();
            needs.push(lists.collect());
            match reasons {
                Some(reasons) => reasons.into_iter().for_each(|word| words[word].patterns.push(place)),
                None => always.push(place),
            }
        }
        let texts = words.iter().map(|word| &word.text);
        let finder = AhoCorasick::builder().ascii_case_insensitive(true).build(texts)?;
        Ok(Filter { finder, words, needs, always })
    }

    /// The places of the patterns that `text` may match, in the order of the list.
    pub fn candidates(&self, text: &[u8]) -> Vec<usize> {
        let mut found = vec![false; self.words.len()];
        let mut candidates = self.always.clone();
        for hit in self.finder.find_overlapping_iter(text) {
            let number = hit.pattern().as_usize();
            let word = &self.words[number];
            let is_it = word.any_case || text[hit.range()] == word.text;
            if is_it && !mem::replace(&mut found[number], true) {
                candidates.extend(&word.patterns);
            }
        }
        candidates.retain(|place| self.needs[*place].iter().all(|list| list.iter().any(|word| found[*word])));
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}

/// Words one of which is in a text.
type List = Vec<Vec<u8>>;

/// What is in every text that a part of a pattern matches.
#[derive(Default)]
struct Required {
    /// All that the part matches, if that is little.
    exact: Option<List>,
    /// Lists of which each has a word in the text.
    lists: Vec<List>,
}

impl Required {
    fn of(hir: &Hir, any_case: bool) -> Required {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Required::exactly(vec![Vec::new()]),
            HirKind::Literal(literal) => Required::exactly(vec![fold(&literal.0, any_case)]),
            HirKind::Class(class) => members(class).map_or_else(Required::default, |members| {
                Required::exactly(distinct(members.iter().map(|member| fold(member, any_case))))
            }),
            HirKind::Capture(capture) => Required::of(&capture.sub, any_case),
            HirKind::Repetition(repetition) => {
                let part = Required::of(&repetition.sub, any_case);
                match (repetition.min, repetition.max, part) {
                    (0, Some(1), Required { exact: Some(mut exact), .. }) => {
                        exact.push(Vec::new());
                        Required::exactly(exact)
                    }
                    (0, ..) => Required::default(),
                    (_, _, part) => Required { exact: None, lists: part.into_lists() },
                }
            }
            HirKind::Concat(parts) => Required::of_sequence(parts, any_case),
            HirKind::Alternation(parts) => Required::of_branches(parts, any_case),
        }
    }

    fn exactly(list: List) -> Required {
        Required { exact: (list.len() <= MOST).then_some(list), lists: Vec::new() }
    }

    /// Neighbours that match little are joined, so that `[Bb]ot` has the words "Bot" and "bot".
    fn of_sequence(parts: &[Hir], any_case: bool) -> Required {
        let mut lists = Vec::new();
        let mut run = vec![Vec::new()];
        for part in parts {
            let part = Required::of(part, any_case);
            match part.exact.as_ref().map(|exact| product(&run, exact)).filter(|joined| joined.len() <= MOST)
            {
                Some(joined) => run = joined,
                None => {
                    let next = part.exact.unwrap_or_else(|| vec![Vec::new()]);
                    lists.push(mem::replace(&mut run, next));
                    lists.extend(part.lists);
                }
            }
        }
        if lists.is_empty() {
            return Required::exactly(run);
        }
        lists.push(run);
        Required { exact: None, lists }
    }

    /// A text has the words of one branch: of each branch those that are in the fewest texts.
    fn of_branches(parts: &[Hir], any_case: bool) -> Required {
        let parts: Vec<Required> = parts.iter().map(|part| Required::of(part, any_case)).collect();
        let exact: Option<Vec<&List>> = parts.iter().map(|part| part.exact.as_ref()).collect();
        let exact = exact.map(|lists| distinct(lists.into_iter().flatten().cloned()));
        if let Some(exact) = exact.filter(|exact| exact.len() <= MOST) {
            return Required::exactly(exact);
        }
        let best = parts.into_iter().map(|part| part.into_lists().into_iter().max_by_key(shortest));
        let best: Option<Vec<List>> = best.collect();
        Required { exact: None, lists: best.map(|lists| lists.concat()).into_iter().collect() }
    }

    /// The lists that say something.
    fn into_lists(self) -> Vec<List> {
        let lists = self.exact.into_iter().chain(self.lists).map(simplify);
        lists.filter(|list| shortest(list) >= SHORTEST).collect()
    }
}

fn fold(text: &[u8], any_case: bool) -> Vec<u8> {
    if any_case { text.to_ascii_lowercase() } else { text.to_vec() }
}

/// What a class matches, if that is little.
fn members(class: &Class) -> Option<List> {
    let list: List = match class {
        Class::Bytes(class) => {
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            bytes.take(MOST + 1).map(|byte| vec![byte]).collect()
        }
        Class::Unicode(class) => {
            let letters = class.iter().flat_map(|range| range.start()..=range.end());
            letters.take(MOST + 1).map(|letter| letter.to_string().into_bytes()).collect()
        }
    };
    (list.len() <= MOST).then_some(list)
}

fn product(left: &List, right: &List) -> List {
    distinct(left.iter().flat_map(|left| right.iter().map(move |right| [&left[..], right].concat())))
}

fn distinct(list: impl Iterator<Item = Vec<u8>>) -> List {
    let mut list: List = list.collect();
    list.sort();
    list.dedup();
    list
}

/// Where "Fire" is enough, "Firefox" says no more.
fn simplify(mut list: List) -> List {
    list.sort_by_key(Vec::len);
    let mut kept: List = Vec::new();
    for word in list {
        if !kept.iter().any(|short| memchr::memmem::find(&word, short).is_some()) {
            kept.push(word);
        }
    }
    kept
}

fn shortest(list: &List) -> usize {
    list.iter().map(Vec::len).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::ParserBuilder;

    fn pattern(text: &str, any_case: bool) -> Pattern {
        let mut parser = ParserBuilder::new().unicode(false).utf8(false).case_insensitive(any_case).build();
        Pattern { hir: parser.parse(text).unwrap(), any_case }
    }

    #[test]
    fn a_pattern_is_tried_only_if_its_words_are_there() {
        for (text, any_case, tried, not_tried) in [
            ("(iPhone|iPad).*OS (\\d+)", false, "iPad; OS x", "iPad; OSX"),
            ("(iPhone|iPad).*OS (\\d+)", false, "iPhone OS ", "iphone OS "),
            ("(iPhone|iPad).*OS (\\d+)", true, "IPHONE os ", "iPhon os "),
            ("[Bb]ot", false, "a bot", "a Boat"),
            ("Fire(?:fox|)", false, "Fire", "Fir"),
            ("(?:abc)+", false, "xabc", "ab"),
            ("(?:abc){2,3}x?", false, "abc", "ab"),
            ("^.{0,200}?(?:one|two[a-z]+three)", false, "two three", "tw thre"),
            ("(?i)ab", false, "aB", "a"),
            ("^ab$", false, "ab", "a"),
            ("x\\d{1,3}ab", false, "ab", "x1"),
        ] {
            let filter = Filter::new(&[pattern(text, any_case)]).unwrap();
            assert_eq!(filter.candidates(tried.as_bytes()), [0], "{text} {tried}");
            assert_eq!(filter.candidates(not_tried.as_bytes()), [0; 0], "{text} {not_tried}");
        }
    }

    #[test]
    fn a_pattern_without_words_is_always_tried() {
        for text in
            ["", ".*", "\\d+", "a", "(?:abc)?", "(?:abc)*", "abc|", "abc|\\d", "[A-Z]{2}", "ab|c", "^\\b$"]
        {
            let filter = Filter::new(&[pattern(text, false)]).unwrap();
            assert_eq!(filter.candidates(b""), [0], "{text}");
        }
        assert_eq!(Filter::new(&[]).unwrap().candidates(b"abc"), [0; 0]);
    }

    #[test]
    fn candidates_come_in_the_order_of_the_list() {
        let texts = ["zz", "yy|zz", ".", "(yy).*(zz)", "xx", "zzyy"];
        let filter = Filter::new(&texts.map(|text| pattern(text, false))).unwrap();
        assert_eq!(filter.candidates(b"zz yy"), [0, 1, 2, 3]);
        assert_eq!(filter.candidates(b"zzyyxx"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(filter.candidates(b"y"), [2]);
    }
}
