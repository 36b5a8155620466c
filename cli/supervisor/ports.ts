/**
 * Where the processes of one machine listen. A taken port is no reason not to start, but the caller is told in one
 * clear line, because the next thing they will do is open the usual address.
 */
import { expectFree, freePort } from '../embedded/process.ts'

export interface WantedPort {
  /** Who listens there, for the sentence. */
  what: string
  /** 0 asks for any free one. */
  port: number
  /** The variable that sets it. */
  variable: string
}

/** The port itself, or another free one with a sentence about it. */
export async function choosePort(wanted: WantedPort, say: (line: string) => void): Promise<number> {
  if (wanted.port === 0) return freePort()
  try {
    await expectFree(wanted.port, wanted.what)
    return wanted.port
  } catch {
    const port = await freePort()
    say(`port ${wanted.port} is taken, so ${wanted.what} listens on ${port} (${wanted.variable} sets it)`)
    return port
  }
}
