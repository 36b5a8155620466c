/** Runs the set-up in a child process, because it installs packages that this process may have loaded. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { externalServers } from '../../project.mjs'
import { checkout } from '../../temporal.config.ts'

/** Returns whether all parts are in place. If not, the set-up has reported the reason. */
export async function runSetUp({
  without = externalServers(),
  verify = false,
}: { without?: readonly string[]; verify?: boolean } = {}): Promise<boolean> {
  const args = [
    join(checkout, 'cli', 'setup.mjs'),
    ...(without.length === 0 ? [] : [`--without=${without.join(',')}`]),
    ...(verify ? ['--verify'] : []),
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code === 0
}
