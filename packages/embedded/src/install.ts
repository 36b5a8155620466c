/** Installs the servers: `install()` in the global set-up of tests, or before the first start. */
import type { Writable } from 'node:stream'
import { thisMachine } from './install/machine.mjs'
import { postgres } from './install/postgres.mjs'
import { startProgress } from './install/progress.mjs'
import { makeMissing } from './install/steps.mjs'
import { temporal } from './install/temporal.mjs'

/** What is installed, and where the progress is shown. */
export interface InstallOptions {
  /** Default: both. */
  servers?: readonly ('postgres' | 'temporal')[]
  /** Gets the progress: one live line on a terminal, plain lines elsewhere. Default: standard error. */
  output?: Writable & { isTTY?: boolean; columns?: number }
  /** Hash every file in the cache again, instead of comparing its size and time. */
  verify?: boolean
}

/**
 * Installs what is missing. Prints nothing and needs no network if nothing is. Processes that install at once wait for the first. Throws what
 * the machine lacks, with the line that installs it.
 */
export async function install({
  servers = ['postgres', 'temporal'],
  output = process.stderr,
  verify = false,
}: InstallOptions = {}): Promise<void> {
  const machine = thisMachine()
  const steps = { postgres: postgres(machine), temporal: temporal(machine) }
  const progress = startProgress(output)
  try {
    await makeMissing(
      servers.map((name) => steps[name]),
      { ...machine, progress, deep: verify },
    )
  } finally {
    progress.stop()
  }
}
