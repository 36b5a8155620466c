/**
 * Chooses the state directory: `.tenure` in the checkout, or a directory below /var/lib/tenure if the user of Postgres cannot
 * enter the checkout. For root, Postgres runs as an unprivileged user.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, chmodSync, constants, mkdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { checkout } from '../../temporal.config.ts'

/** The unprivileged user id of Linux, as which Postgres runs for root. */
const UNPRIVILEGED_USER = 65_534

const SHARED_ROOT = '/var/lib/tenure'

/** The user id for Postgres; undefined for the current user. */
export function serverUser(): number | undefined {
  return process.getuid?.() === 0 ? UNPRIVILEGED_USER : undefined
}

/** Creates and returns the state directory. Throws `configuration_invalid` if Postgres' user cannot enter the requested one. */
export function openStateDir(requested?: string, root: string = checkout): string {
  const user = serverUser()
  if (requested !== undefined) {
    const asked = makeDir(resolve(requested))
    if (reachable(asked, user)) return asked
    throw new DomainError(
      'configuration_invalid',
      `TENURE_STATE=${asked} is not accessible to the user of Postgres (id ${user})`,
      { asked },
    )
  }
  const beside = makeDir(join(root, '.tenure'))
  if (reachable(beside, user)) return beside
  const digest = createHash('sha256').update(root).digest('hex').slice(0, 8)
  return makeDir(join(SHARED_ROOT, `${basename(root)}-${digest}`))
}

/** Whether the user may enter the directory. Tested by the system, which respects access lists and mounts. */
export function reachable(directory: string, userId: number | undefined): boolean {
  return spawnSync('/usr/bin/test', ['-x', directory], { cwd: '/', uid: userId, gid: userId }).status === 0
}

/** Other users may enter the directory but not list it. Throws `configuration_invalid` if it is not writable. */
function makeDir(path: string): string {
  try {
    mkdirSync(path, { recursive: true })
    accessSync(path, constants.W_OK)
  } catch (error) {
    throw new DomainError(
      'configuration_invalid',
      `${path} is not writable (${(error as NodeJS.ErrnoException).code}): set TENURE_STATE to another directory`,
      { path },
    )
  }
  const mode = statSync(path).mode & 0o777
  if (process.getuid?.() === 0 && (mode & 0o011) !== 0o011) chmodSync(path, mode | 0o011)
  return path
}
