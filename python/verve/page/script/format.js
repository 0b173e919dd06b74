// Numbers in the reader's locale; times in UTC and in the reader's time zone.

const number = new Intl.NumberFormat();
const oneDigit = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3, signDisplay: "negative" });
const clockParts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const localClock = new Intl.DateTimeFormat(undefined, clockParts);
const localSeconds = new Intl.DateTimeFormat(undefined, { ...clockParts, second: "2-digit" });
const localZone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" })
  .formatToParts(new Date()).find((part) => part.type === "timeZoneName").value;

// A figure that is not known is a dash, never a zero.
function figure(value, format = number) {
  return value === null || value === undefined ? "\u2013" : format.format(value);
}

function seconds(value) {
  return value === null || value === undefined ? "\u2013" : `${oneDigit.format(value)} s`;
}

// 2026-11-22T21:58:00Z as 2026-11-22 21:58:00
function utcMoment(text) {
  return text.replace("T", " ").replace("Z", "");
}

function utcTime(date) {
  return date.toISOString().slice(11, 19);
}

function bothTimes(date) {
  return `${localSeconds.format(date)} (${utcTime(date)} UTC)`;
}
