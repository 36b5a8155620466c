/** Reads and writes the session cookie. */

/**
 * Browsers take the second name only from this very host over HTTPS, so that no other host of the domain and no one on the way can set it.
 */
export const sessionCookie = { plain: 'tenure_session', secure: '__Host-tenure_session' }
/** A working day. */
export const sessionMs = 8 * 3_600_000

/** The `Set-Cookie` header of a session; without a value, the one that deletes it. */
export function setCookie(value: string | undefined, secure: boolean): string {
  const age = value === undefined ? 0 : sessionMs / 1_000
  const name = secure ? sessionCookie.secure : sessionCookie.plain
  return `${name}=${value ?? ''}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`
}

/** Whether the browser uses HTTPS, to this process or to its proxy. `redirect` is the address of this host as the identity provider knows it. */
export const isSecure = (header: (name: string) => string | undefined, redirect?: string): boolean =>
  (header('x-forwarded-proto') ?? '').split(',')[0]?.trim() === 'https' ||
  (header('origin') ?? '').startsWith('https://') ||
  redirect?.startsWith('https://') === true

/** The session cookie of a request; over HTTPS only the one that no other host can set. */
export const sessionIn = (cookies: string | undefined, secure: boolean): string | undefined =>
  cookieIn(cookies, sessionCookie.secure) ?? (secure ? undefined : cookieIn(cookies, sessionCookie.plain))

/** Undefined when the header has no such cookie. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}
