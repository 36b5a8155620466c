/**
 * Keeps the artifact store within its budget: gives up what is worth least, and removes files that no row names. Rows are
 * changed before files, so whatever dies in the middle leaves files too many, which the next run finds, and never a row
 * that speaks of a file which is not there.
 */
import { selectForDeletion, type ArtifactGroup } from '../../domain/registry/artifact-retention.ts'
import { getManifest, type Area, type Artifacts, type StoredFile } from '../../store/artifacts.ts'
import {
  deleteArtifact,
  deleteSnapshot,
  listArtifacts,
  listKeptSnapshots,
  listOtherFiles,
  type NamedArtifact,
} from '../../store/registry/artifact-retention.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'

export interface CollectionReport {
  /** Artifacts and snapshots that were given up. */
  givenUp: number
  /** Files that nothing named any more, theirs among them. */
  removed: number
  freedBytes: number
}

/** A file is written before the row that names it; one that is younger may still be waiting for its row. */
const youngMs = 86_400_000

const areas: readonly Area[] = ['artifacts', 'snapshots', 'checkpoints']

export const collectArtifacts = (deps: Deps) => (): Promise<CollectionReport> =>
  withHeartbeat(async (beat) => {
    const { artifacts, log } = deps
    const givenUp = await giveUp(deps, beat)
    let removed = await artifacts.clearDrafts(youngMs)
    let freedBytes = 0
    for (const area of areas) {
      for (const file of await findUnnamed(deps, area)) {
        beat.check()
        if (!(await artifacts.removeListed(area, file))) continue
        removed++
        freedBytes += file.bytes
      }
    }
    if (givenUp + removed > 0) log.info({ givenUp, removed, freedBytes }, 'artifacts were collected')
    return { givenUp, removed, freedBytes }
  })

/** Changes the rows alone. Answers how many artifacts and snapshots have no row that keeps them any more. */
async function giveUp({ store, artifacts, config, log }: Deps, beat: Beat): Promise<number> {
  const budgetBytes = config.retention.artifactsMb * 1_048_576
  const { given, beforeBytes, afterBytes } = selectForDeletion(
    await findLots({ store, artifacts }),
    budgetBytes,
  )
  if (afterBytes > budgetBytes)
    log.warn(
      { beforeBytes, afterBytes, budgetBytes },
      'what is in use is larger than the budget of the artifacts',
    )
  let count = 0
  for (const { kind, digest } of given) {
    beat.check()
    const gone = await (kind === 'snapshot' ? deleteSnapshot : deleteArtifact)(store, digest)
    if (!gone) continue
    count++
    log.info({ [kind === 'snapshot' ? 'snapshot' : 'artifact']: digest, kind }, 'given up for its budget')
  }
  return count
}

type Sources = Pick<Deps, 'store' | 'artifacts'>

async function findLots({ store, artifacts }: Sources): Promise<ArtifactGroup[]> {
  const files = await listAll(artifacts, 'artifacts')
  const tables = await listAll(artifacts, 'snapshots')
  const sized = (digests: readonly string[], among: Map<string, StoredFile>): Map<string, number> =>
    new Map(digests.flatMap((digest) => (among.has(digest) ? [[digest, among.get(digest)!.bytes]] : [])))
  const lots: ArtifactGroup[] = []
  for (const named of await listArtifacts(store))
    lots.push({ ...named, files: sized(await filesOf(artifacts, named, files), files) })
  for (const { subjects, ...named } of await listKeptSnapshots(store)) {
    const digests = [named.digest, ...(subjects === undefined ? [] : [subjects])]
    lots.push({ ...named, kind: 'snapshot', files: sized(digests, tables) })
  }
  return lots
}

/**
 * The manifest and what it names. One that is not there names nothing; one that is there and cannot be read ends the
 * collection, because nobody knows then what it keeps.
 */
async function filesOf(
  artifacts: Artifacts,
  { digest, files }: NamedArtifact,
  there: ReadonlyMap<string, StoredFile>,
): Promise<string[]> {
  if (files === undefined && !there.has(digest)) return [digest]
  const named = files ?? (await getManifest(artifacts, digest)).files
  return [digest, ...Object.values(named).map((file) => file.digest)]
}

/** The old files of an area that no row names. Files are listed before rows are read: what is named meanwhile stays. */
async function findUnnamed({ store, artifacts }: Sources, area: Area): Promise<StoredFile[]> {
  const files = await listAll(artifacts, area)
  const named = new Set(await namedIn(area, { store, artifacts }, files))
  const oldest = Date.now() - youngMs
  return [...files.values()].filter(({ digest, writtenMs }) => !named.has(digest) && writtenMs < oldest)
}

async function namedIn(
  area: Area,
  { store, artifacts }: Sources,
  files: ReadonlyMap<string, StoredFile>,
): Promise<string[]> {
  if (area === 'artifacts') {
    const all = []
    for (const named of await listArtifacts(store)) all.push(await filesOf(artifacts, named, files))
    return all.flat()
  }
  const { inputs, checkpoints } = await listOtherFiles(store)
  if (area === 'checkpoints') return checkpoints
  const snapshots = await listKeptSnapshots(store)
  return [
    ...inputs,
    ...snapshots.flatMap(({ digest, subjects }) => [digest, ...(subjects ? [subjects] : [])]),
  ]
}

async function listAll(artifacts: Artifacts, area: Area): Promise<Map<string, StoredFile>> {
  const found = new Map<string, StoredFile>()
  for await (const file of artifacts.list(area)) found.set(file.digest, file)
  return found
}
