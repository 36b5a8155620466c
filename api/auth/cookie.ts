/** Reads and writes the session cookie. */

export const sessionCookie = 'tenure_session'
/** A working day. */
export const sessionMs = 8 * 3_600_000

/** The `Set-Cookie` header of a session; without a value, the one that deletes it. */
export function setCookie(value: string | undefined, secure: boolean): string {
  const age = value === undefined ? 0 : sessionMs / 1_000
  return `${sessionCookie}=${value ?? ''}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`
}

/** Whether the browser uses HTTPS, to this process or to its proxy. */
export const isSecure = (header: (name: string) => string | undefined): boolean =>
  (header('x-forwarded-proto') ?? '').split(',')[0]?.trim() === 'https' ||
  (header('origin') ?? '').startsWith('https://')

/** Undefined when the header has no such cookie. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}
