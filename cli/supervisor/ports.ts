/** Chooses the ports of the processes. If a port is in use, another one is chosen and reported. */
import { requireFreePort, freePort } from '../embedded/process.ts'

export interface WantedPort {
  /** The process that listens there, for the message. */
  what: string
  /** 0 means any free port. */
  port: number
  /** The variable that sets it. */
  variable: string
}

export async function choosePort(wanted: WantedPort, say: (line: string) => void): Promise<number> {
  if (wanted.port === 0) return freePort()
  try {
    await requireFreePort(wanted.port, wanted.what)
    return wanted.port
  } catch {
    const port = await freePort()
    say(
      `Port ${wanted.port} is in use; ${wanted.what} listens on ${port} (set ${wanted.variable} to change it)`,
    )
    return port
  }
}
