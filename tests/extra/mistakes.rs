//! What an administrator can get wrong in a configuration, and where each message points.

use crate::support::{Folder, data, run};

/// A good configuration of ten lines, each of which is replaced by a bad one in turn.
const GOOD: [&str; 10] = [
    "setACL({ '127.0.0.0/8' })",
    "setWebserverPassword('super')",
    "addListener('127.0.0.1:0', false)",
    "setNumReportThreads(2)",
    "controlSocket('127.0.0.1:4004')",
    "newGeoIP2DB('City', '{city}')",
    "addCustomWebHook('hook', { url = 'http://192.0.2.1/' })",
    "setBackground('nightly', function() end)",
    "cronScheduleBackgroundFunc('0 3 * * *', 'nightly')",
    "setReport(function(lt) end)",
];

/// The line that takes the place of the one with this number, and the message.
const MISTAKES: &[(usize, &str, &str)] = &[
    (1, "setACL({ '127.0.0.0/33' })", "setACL(netmasks): \"127.0.0.0/33\" is not a netmask"),
    (2, "setWebserverPassword('')", "setWebserverPassword(password): the password is empty"),
    (3, "addListener('example.com:80', false)", "\"example.com:80\" is not an IP address with a port"),
    (4, "setNumReportThreads(0)", "setNumReportThreads(number): number: 0 is not from 1 to 1024"),
    (4, "setReportAck('later')", "setReportAck(when): \"later\" is not \"queued\" or \"done\""),
    (4, "setHTTPLimits({ size = 1 })", "setHTTPLimits(limits): limits: no limit named \"size\""),
    (5, "controlSocket('example.com')", "\"example.com\" is not an IP address with an optional port"),
    (6, "newGeoIP2DB('City', 'missing.mmdb')", "missing.mmdb: no such file or directory"),
    (6, "newGeoIP2DB('City', 'x.conf')", "x.conf: not a MaxMind database"),
    (7, "addCustomWebHook('hook', {})", "addCustomWebHook(name, keys): keys: url is missing"),
    (8, "setBackground('nightly')", "setBackground(name, function): function: function expected, got nil"),
    (9, "cronScheduleBackgroundFunc('bad', 'nightly')", "cron: \"bad\" is not a cron expression"),
    (9, "cronScheduleBackgroundFunc('0 3 * * *', 'other')", "no setBackground(\"other\", …)"),
    (10, "setReport('f')", "setReport(function): function: function expected, got string"),
    (10, "setRepport(function() end)", "attempt to call global 'setRepport' (a nil value)"),
    (10, "setReport(function(lt) end", "')' expected near '<eof>'"),
    (10, "addACL('192.0.2.0/24', 5)", "addACL(netmask): too many arguments"),
];

#[test]
fn every_mistake_is_named_with_its_line() {
    let folder = Folder::new();
    let check = |lines: &[&str]| {
        let path = folder.write("x.conf", &lines.join("\n").replace("{city}", &data("city.mmdb")));
        run(&["-t", "-C", path.to_str().unwrap()], "")
    };
    let output = check(&GOOD);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    // What a policy looks up while the file runs is there when it is checked, too.
    let mut lines = GOOD;
    lines[9] = "assert(getGeoIP2DB('City'):lookupCountry(newCA('81.2.69.160')) == 'GB')";
    let output = check(&lines);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    // What the whole of a configuration does wrong has no line.
    lines[9] = "setLuaMemoryLimit(16) kept = string.rep('x', 2e7)";
    let output = check(&lines);
    let message = "trackalert: x.conf: it keeps more memory than setLuaMemoryLimit allows\n";
    assert_eq!((output.status, output.stderr.as_str()), (78, message));
    for (number, mistake, message) in MISTAKES {
        let mut lines = GOOD;
        lines[number - 1] = mistake;
        let output = check(&lines);
        assert_eq!(output.status, 78, "{mistake}");
        let place = format!("trackalert: x.conf:{number}: ");
        assert!(output.stderr.starts_with(&place), "{mistake}: {}", output.stderr);
        assert!(output.stderr.contains(message), "{mistake}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}
