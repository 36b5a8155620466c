/**
 * Tells the folder of the artifacts from the empty mount point that is left when its share is not mounted. A marker file lies in the folder
 * since its first use; where it is missing, work waits, and nothing is written.
 */
import { existsSync } from 'node:fs'
import { access, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError } from '../domain/errors.ts'

const markerName = '.tenure-artifacts'
const markerText =
  'Artifacts of Tenure. While this file is missing here, Tenure takes the folder as not mounted.\n'

/** Returns paths below the folder that the database knows, or a sample of them. */
type ListKnown = () => Promise<readonly string[]>

/** A share that does not answer for this time is as good as not mounted. */
const shareMs = 2_000

/** The folders that must have a marker. */
const expected = new Map<string, ListKnown | undefined>()

/**
 * Makes this process treat the folder as unreachable while it has no marker. With `listKnown`, a folder without a marker gets one if the
 * database knows no file yet, or if the folder holds a known file: earlier versions wrote no marker.
 */
export const expectMarker = (root: string, listKnown?: ListKnown): void => void expected.set(root, listKnown)

/** For a child process, which then expects them too. */
export const expectedMarkers = (): string[] => [...expected.keys()]

/** Makes the folder and its marker. */
export async function markFolder(root: string): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  await writeFile(join(root, markerName), markerText, { mode: 0o600 })
}

/** Whether a folder that must have a marker has none, and cannot get one. */
export const isUnreachable = async (root: string): Promise<boolean> => (await findFolder(root)) !== 'there'

async function findFolder(root: string): Promise<'there' | 'gone' | 'unknown'> {
  if (!expected.has(root) || (await exists(join(root, markerName)))) return 'there'
  try {
    const known = await expected.get(root)?.()
    if (known === undefined || !(await isOwn(root, known))) return 'gone'
    await markFolder(root)
    return 'there'
  } catch {
    // The database is away, or the folder is read-only.
    return 'unknown'
  }
}

/** Returns a check for a process that repeats it, false while the database is away and no marker is there. A share that hangs is asked again only when it has answered. */
export function createFolderCheck(root: string): () => Promise<boolean> {
  let asked: Promise<boolean> | undefined
  return () => {
    asked ??= findFolder(root)
      .then((found) => found === 'gone')
      .finally(() => (asked = undefined))
    return Promise.race([asked, pause(shareMs, true, { ref: false })])
  }
}

async function isOwn(root: string, known: readonly string[]): Promise<boolean> {
  for (const path of known) if (await exists(join(root, path))) return true
  return known.length === 0
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Throws `object_store_unavailable` while the folder is unreachable. */
export async function requireReachable(root: string): Promise<void> {
  if (await isUnreachable(root))
    throw new DomainError('object_store_unavailable', unreachableText(root), { store: root })
}

const unreachableText = (root: string): string =>
  `the folder of the artifacts is not mounted: ${root} has no file ${markerName}`

/** For a process without the database. `isUsed`: whether this installation has ever run. Returns why the folder is unreachable. */
export function findUnmounted(root: string, isUsed: boolean): string | undefined {
  const isThere = [markerName, 'sha256', 'snapshots'].some((name) => existsSync(join(root, name)))
  return isUsed && !isThere ? unreachableText(root) : undefined
}
