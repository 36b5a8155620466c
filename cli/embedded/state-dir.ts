/**
 * Chooses the state directory: `.tenure` in the project, or a directory below /var/lib/tenure if the user of Postgres cannot
 * enter the project. For root, Postgres runs as an unprivileged user.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { projectFolder } from '../../temporal.config.ts'

/** The unprivileged user id of Linux, as which Postgres runs for root. */
const UNPRIVILEGED_USER = 65_534

const SHARED_ROOT = '/var/lib/tenure'

/** The user id for Postgres; undefined for the current user. */
export function serverUser(): number | undefined {
  return process.getuid?.() === 0 ? UNPRIVILEGED_USER : undefined
}

/** Where the data of the embedded Postgres are. */
export const embeddedDataDir = (stateDir: string): string => join(stateDir, 'postgres')
/** Where it puts its log when backups are scheduled, until it is copied. */
export const archivedLogOf = (stateDir: string): string => join(stateDir, 'postgres-log')

/** Creates and returns the state directory. Throws `configuration_invalid` if Postgres' user cannot enter the requested one. */
export function openStateDir(requested?: string, root: string = projectFolder): string {
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

/** Whether the user, by default the current one, may enter the directory. Of another user the system is asked, which respects access lists and mounts. */
export function reachable(directory: string, userId: number | undefined): boolean {
  if (userId === undefined) return isEntered(directory)
  return spawnSync('/usr/bin/test', ['-x', directory], { cwd: '/', uid: userId, gid: userId }).status === 0
}

/** A container image has no programs to ask. */
function isEntered(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Creates the directory for this user alone. Throws `configuration_invalid` if it is not writable. */
function makeDir(path: string): string {
  try {
    // Directories above may be entered by the user of Postgres.
    mkdirSync(path, { recursive: true, mode: 0o711 })
    accessSync(path, constants.W_OK)
  } catch (error) {
    throw new DomainError(
      'configuration_invalid',
      `${path} is not writable (${(error as NodeJS.ErrnoException).code}): set TENURE_STATE to another directory`,
      { path },
    )
  }
  if (isOwn(path)) restrict(path)
  else letServerEnter(path)
  return path
}

/** A directory that other programs use keeps its permissions; what lies in it is created for one user all the same. */
function isOwn(path: string): boolean {
  const entries = readdirSync(path)
  return (
    entries.length === 0 || ['postgres', 'keys', 'supervisor.json'].some((name) => entries.includes(name))
  )
}

/** For root, whose Postgres runs as another user: it may enter the directory, and not list it. */
function letServerEnter(path: string): void {
  const mode = statSync(path).mode & 0o777
  if (serverUser() !== undefined && (mode & 0o011) !== 0o011) chmodSync(path, mode | 0o011)
}

/** Lets in the current user and, for root, the group of Postgres, which enters without listing. */
function restrict(path: string): void {
  const user = serverUser()
  const { uid, gid, mode } = statSync(path)
  if (uid !== process.getuid?.()) return
  if (user !== undefined && gid !== user) chownSync(path, uid, user)
  const wanted = user === undefined ? 0o700 : 0o710
  if ((mode & 0o777) !== wanted) chmodSync(path, wanted)
}
