/** Checks for new and changed files of the project that match a pattern. When the folder is missing, the position stays. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DomainError, isError } from '../../domain/errors.ts'
import type { FileSensor } from '../../domain/triggers/trigger.ts'
import { splitPattern } from '../../domain/addresses/source-address.ts'
import { projectFolder } from '../../temporal.config.ts'
import { listMatching } from '../data/matching-files.ts'
import type { Look } from './sensor.ts'

/** Path → size and modification time. */
type SeenFiles = Record<string, string>

const maxFiles = 10_000
/** The most paths that a message names. */
const maxNamed = 3

export const lookForFiles: Look<FileSensor, SeenFiles> = async (_, { glob }, before) => {
  const found = await filesOf(glob)
  if (before === undefined) return { seen: found }
  const fresh = Object.keys(found).filter((path) => before[path] !== found[path])
  // A file that disappears and comes back unchanged, as on a remounted share, is not new.
  const absent = Object.entries(before).filter(([path]) => found[path] === undefined)
  const seen = { ...Object.fromEntries(absent.slice(-maxFiles)), ...found }
  if (fresh.length === 0) return { seen }
  const named = `${fresh.slice(0, maxNamed).join(', ')}${fresh.length > maxNamed ? ', …' : ''}`
  const message = fresh.length === 1 ? `${named} is new` : `${fresh.length} files are new: ${named}`
  return { seen, news: { message, evidence: { files: fresh.length, file: fresh[0] ?? null } } }
}

async function filesOf(glob: string): Promise<SeenFiles> {
  const found = await listMatching(glob, maxFiles).catch((error: unknown) => {
    throw isError(error) ? error : asAway(splitPattern(glob).folder, error)
  })
  const paths = found.map(({ path }) => path)
  const marks = await Promise.all(paths.map(async (path) => [path, await markOf(path)] as const))
  return Object.fromEntries(marks.flatMap(([path, mark]) => (mark === undefined ? [] : [[path, mark]])))
}

/** Undefined for a file that was removed in the meantime. */
async function markOf(path: string): Promise<string | undefined> {
  try {
    const { size, mtimeMs } = await stat(join(projectFolder, path))
    return `${size}/${Math.floor(mtimeMs)}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw asAway(path, error)
  }
}

function asAway(path: string, error: unknown): DomainError {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'ENOENT' ? 'there is no such folder' : message
  return new DomainError(
    'source_unreadable',
    `${path}: ${why}: create it, mount the share, or correct the pattern in the model file`,
  )
}
