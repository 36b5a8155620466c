/** Runs the set-up in a process of its own: it installs packages that this one may have loaded. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { externalServers } from '../../scripts/build/project.mjs'
import { checkout } from '../../temporal.config.ts'

/** Whether all parts are in place. The set-up has reported the reason if not. */
export async function runSetUp({
  without = externalServers(),
  verify = false,
}: { without?: readonly string[]; verify?: boolean } = {}): Promise<boolean> {
  const args = [
    join(checkout, 'scripts', 'setup.mjs'),
    ...(without.length === 0 ? [] : [`--without=${without.join(',')}`]),
    ...(verify ? ['--verify'] : []),
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code === 0
}
