//! A regexes.yaml is read or refused; with one that is read, User-Agents come out as they do when its
//! patterns are tried one by one.

use trackalert::probe::Devices;

use super::rules::Rules;

/// `data` is a file and, behind a NUL, User-Agents in lines.
pub fn regexes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, agents) = text.split_once('\0').unwrap_or((text, ""));
    // Three repetitions inside each other compile for seconds. The file is the administrator's.
    if file.bytes().filter(|byte| *byte == b'{').count() > 12 {
        return;
    }
    let Ok(devices) = Devices::new(file) else { return };
    let Some(rules) = Rules::new(file) else { return };
    for agent in agents.lines().chain([""]).filter(|agent| agent.len() <= 512) {
        assert_eq!(devices.parse("http", agent), rules.parse(agent), "{agent:?}");
    }
}
