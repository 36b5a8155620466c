/** Decodes the percent escapes of a part of an address. A part with an invalid escape, such as a bare `%`, stays as it is. */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
