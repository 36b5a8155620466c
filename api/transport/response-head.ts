/** Writes the head of a response as Node's server does, from texts cached between responses. */
import { STATUS_CODES } from 'node:http'

/** The last successful head up to its length. Nearly all responses have the same headers, in the same array. */
const lastStart: { headers: readonly string[] | undefined; text: string } = { headers: undefined, text: '' }

/** Returns the head up to the value of `content-length`. */
export function startOfHead(status: number, headers: readonly string[]): string {
  if (status === 200 && headers === lastStart.headers) return lastStart.text
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  text += 'content-length: '
  if (status === 200) Object.assign(lastStart, { headers, text })
  return text
}

export type EndOfHead = (keepsAlive: boolean) => string

/** Returns a function that writes the head after the length: the date, formatted once per second, and whether the connection stays open. */
export function createEndOfHead(keepAliveMs: number): EndOfHead {
  const kept = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}`
  let second = 0
  let texts = ['', ''] as [closed: string, kept: string]
  return (keepsAlive) => {
    const at = Math.floor(Date.now() / 1_000)
    if (at !== second) {
      second = at
      const date = `\r\nDate: ${new Date(at * 1_000).toUTCString()}\r\n`
      texts = [`${date}Connection: close\r\n\r\n`, `${date}${kept}\r\n\r\n`]
    }
    return texts[keepsAlive ? 1 : 0]
  }
}
