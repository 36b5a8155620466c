/**
 * Chooses the state directory: `.tenure` in the project, or a directory below /var/lib/tenure if the user of Postgres cannot enter the
 * project. When started by root, Postgres runs as an unprivileged user.
 */
import { serverUser, sharedRoot } from '@tenure/embedded'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DomainError } from '../domain/errors.ts'
import { projectFolder } from '../temporal.config.ts'

export const embeddedDataDir = (stateDir: string): string => join(stateDir, 'postgres')
/** Returns the directory to which Postgres archives its log while backups are scheduled. Files stay there until they are copied. */
export const archivedLogOf = (stateDir: string): string => join(stateDir, 'postgres-log')

/** Lists where the state directory of a project may be, without creating one: `.tenure` in the project comes first. */
export function stateDirsOf(requested?: string, root: string = projectFolder): [string, ...string[]] {
  if (requested !== undefined) return [resolve(requested)]
  const digest = createHash('sha256').update(root).digest('hex').slice(0, 8)
  return [join(root, '.tenure'), join(sharedRoot, `${basename(root)}-${digest}`)]
}

/** Creates and returns the state directory. Throws `configuration_invalid` if Postgres' user cannot enter the requested one. */
export function openStateDir(requested?: string, root: string = projectFolder): string {
  const user = serverUser()
  const [first, shared] = stateDirsOf(requested, root)
  const stateDir = makeDir(first)
  if (reachable(stateDir, user)) return stateDir
  if (shared !== undefined) return makeDir(shared)
  throw new DomainError(
    'configuration_invalid',
    `TENURE_STATE=${stateDir} is not accessible to the user of Postgres (id ${user})`,
    { asked: stateDir },
  )
}

/**
 * Whether a user, by default the current one, may enter the directory. Tests another user by running a program as that user, which respects
 * access lists and mounts.
 */
export function reachable(directory: string, userId: number | undefined): boolean {
  if (userId === undefined) return isEntered(directory)
  return spawnSync('/usr/bin/test', ['-x', directory], { cwd: '/', uid: userId, gid: userId }).status === 0
}

/** Whether the current process may enter the directory, tested without a program, because a container image may have none. */
function isEntered(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Creates the directory for the current user only. Throws `configuration_invalid` if it is not writable. */
function makeDir(path: string): string {
  try {
    // The user of Postgres must be able to enter the parent directories.
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

/**
 * Whether the directory is empty or a state directory. A directory that other programs use keeps its permissions; files in it are still
 * created for one user.
 */
function isOwn(path: string): boolean {
  const entries = readdirSync(path)
  return (
    entries.length === 0 || ['postgres', 'keys', 'supervisor.json'].some((name) => entries.includes(name))
  )
}

/** Lets the user of Postgres enter the directory without listing it, when started by root. */
function letServerEnter(path: string): void {
  const mode = statSync(path).mode & 0o777
  if (serverUser() !== undefined && (mode & 0o011) !== 0o011) chmodSync(path, mode | 0o011)
}

/** Restricts the directory to the current user. When started by root, the group of Postgres may also enter without listing. */
function restrict(path: string): void {
  const user = serverUser()
  const { uid, gid, mode } = statSync(path)
  if (uid !== process.getuid?.()) return
  if (user !== undefined && gid !== user) chownSync(path, uid, user)
  const expectedMode = user === undefined ? 0o700 : 0o710
  if ((mode & 0o777) !== expectedMode) chmodSync(path, expectedMode)
}
