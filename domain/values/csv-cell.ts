/** Disarms texts of callers in CSV, which a spreadsheet would run as formulas. */

/** The text, behind an apostrophe where a spreadsheet would take it for a formula. A number stays one. */
export const disarmedCell = (text: string): string =>
  /^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text) ? `'${text}` : text
