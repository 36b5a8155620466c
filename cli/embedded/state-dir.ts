/**
 * Where this machine's state lives: the servers' data, the routing cache, the spool. By default that is `.tenure` in the
 * checkout. Postgres refuses to run as root and therefore runs as the user nobody, who may not pass through a directory
 * like /root; then the state lives under /var/lib/tenure, in a directory named by the checkout.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, chmodSync, constants, mkdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { checkout } from '../../temporal.config.ts'

/** The user that Postgres runs as when everything else runs as root: `nobody` on every Linux. */
const NOBODY = 65_534

const SHARED_ROOT = '/var/lib/tenure'

/** The user for the servers that refuse root, or nothing when the present user will do. */
export function serverUser(): number | undefined {
  return process.getuid?.() === 0 ? NOBODY : undefined
}

/**
 * Makes the state directory and returns it. A directory that was asked for is used or refused, never replaced.
 * Throws `configuration_invalid` when the servers' user cannot reach the one asked for.
 */
export function openStateDir(requested?: string, root: string = checkout): string {
  const user = serverUser()
  if (requested !== undefined) {
    const asked = makeDir(resolve(requested))
    if (reachable(asked, user)) return asked
    throw new DomainError(
      'configuration_invalid',
      `TENURE_STATE=${asked} lies below a directory that the user nobody may not enter, and Postgres runs as nobody`,
      { asked },
    )
  }
  const beside = makeDir(join(root, '.tenure'))
  if (reachable(beside, user)) return beside
  const digest = createHash('sha256').update(root).digest('hex').slice(0, 8)
  return makeDir(join(SHARED_ROOT, `${basename(root)}-${digest}`))
}

/** Whether the user may enter the directory; asked of the system itself, which also knows access lists and mounts. */
export function reachable(directory: string, userId: number | undefined): boolean {
  const user = userId === undefined ? {} : { uid: userId, gid: userId }
  return spawnSync('/usr/bin/test', ['-x', directory], { cwd: '/', ...user }).status === 0
}

/**
 * Others may pass through it, to the data that is theirs, but not list it. Throws `configuration_invalid` where no state can
 * be written.
 */
function makeDir(path: string): string {
  try {
    mkdirSync(path, { recursive: true })
    accessSync(path, constants.W_OK)
  } catch (error) {
    throw new DomainError(
      'configuration_invalid',
      `no state can be kept in ${path} (${(error as NodeJS.ErrnoException).code}): TENURE_STATE names another directory`,
      { path },
    )
  }
  const mode = statSync(path).mode & 0o777
  if (process.getuid?.() === 0 && (mode & 0o011) !== 0o011) chmodSync(path, mode | 0o011)
  return path
}
