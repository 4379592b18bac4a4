//! The recorded Lua expressions, evaluated in a report function.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, PROGRAM, SERVER, Trackalert, data, file, wait_for};

/// Evaluates what `expressions.lua` returns, writes the results as the recording has them, each with
/// a record separator after it, and then makes the file that says that it is done.
const POLICY: &str = r##"
addCustomStat("known")
local function show(value)
    local kind = type(value)
    if kind == "string" then return string.format("%q", value) end
    if kind == "number" then return string.format("number:%.17g", value) end
    if kind ~= "table" then return kind .. ":" .. tostring(value) end
    local parts = {}
    for k, v in pairs(value) do parts[#parts + 1] = "[" .. show(k) .. "]=" .. show(v) end
    return "{" .. table.concat(parts, ",") .. "}"
end
local function result(ok, ...)
    if not ok then return "ERROR " .. show((...)) end
    local parts = {}
    local count = select("#", ...)
    while count > 0 and (select(count, ...)) == nil do count = count - 1 end
    for i = 1, count do parts[i] = show((select(i, ...))) end
    return count == 0 and "(nothing)" or table.concat(parts, " , ")
end
setReport(function(lt)
    local out = assert(io.open("results", "w"))
    for _, code in ipairs(dofile("expressions.lua")) do
        local chunk = assert(loadstring("local lt, args = ... ; " .. code))
        out:write(result(pcall(chunk, lt, lt)), "\30")
    end
    out:close()
    os.rename("results", "done")
end)
"##;

#[test]
fn every_recorded_expression_has_the_recorded_result() {
    let rows: Vec<Value> =
        file("golden/lua.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let folder = Folder::new();
    let codes: String =
        rows.iter().map(|row| format!("[====[{}]====],\n", row["code"].as_str().unwrap())).collect();
    folder.write("expressions.lua", &format!("return {{{codes}}}"));
    let (city, country) = (data("city.mmdb"), data("country.mmdb"));
    let databases = format!("newGeoIP2DB('City', '{city}') newGeoIP2DB('Reg', '{country}')\n");
    let config = format!("{SERVER}{databases}{POLICY}");
    let daemon = Trackalert::start_with(folder, &config, Command::new(PROGRAM));
    let report = r#"{"login":"all","remote":"192.0.2.1","pwhash":"1","success":true,"t":1700000000.5,"attrs":{"k":"v"}}"#;
    assert_eq!(daemon.report(report).status, 200);
    let done = daemon.folder.path("done");
    let results = wait_for("the results", || fs::read_to_string(&done).ok());
    let mut wrong = Vec::new();
    let results: Vec<&str> = results.split_terminator('\u{1e}').collect();
    assert_eq!(results.len(), rows.len());
    for (row, result) in rows.iter().zip(&results) {
        let is_free = row["free"].as_bool().unwrap();
        if !is_free && row["original"].as_str().unwrap() != *result {
            wrong.push(format!("{}\n  gave {result}\n  not  {}", row["code"], row["original"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
