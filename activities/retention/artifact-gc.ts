/**
 * Keeps the artifact store within its budget: deletes the least valuable artifacts and files without a row. Rows change before files, so
 * a crash leaves orphaned files for the next run but never a row without its file.
 */
import { selectForDeletion, type ArtifactGroup } from '../../domain/registry/artifact-retention.ts'
import {
  digestOfJson,
  getManifest,
  type Area,
  type Artifacts,
  type StoredFile,
} from '../../store/artifacts.ts'
import {
  deleteArtifact,
  deleteSnapshot,
  listArtifacts,
  listKeptSnapshots,
  listNeededPackages,
  listOtherFiles,
  type NamedArtifact,
} from '../../store/registry/artifact-retention.ts'
import { pruneEnvironments } from '../../store/python/python-environment.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'

export interface CollectionReport {
  /** Artifacts and snapshots selected for deletion. */
  givenUp: number
  /** Deleted files, including those without a row. */
  removed: number
  freedBytes: number
}

/** A file is written before its row, so younger files may still get theirs. */
const youngMs = 86_400_000

/** How long a Python environment of this machine stays that no process uses and no kept version needs. */
const environmentMs = 30 * 86_400_000

const areas: readonly Area[] = ['artifacts', 'snapshots', 'checkpoints']

export const collectArtifacts = (deps: Deps) => (): Promise<CollectionReport> =>
  withHeartbeat(async (beat) => {
    const { store, artifacts, config, log } = deps
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
    const needed = (await listNeededPackages(store)).map(digestOfJson)
    const environments = await pruneEnvironments(config.cacheDir, { unusedMs: environmentMs, needed })
    if (environments > 0) log.info({ environments }, 'unused Python environments deleted')
    if (givenUp + removed > 0) log.info({ givenUp, removed, freedBytes }, 'artifacts deleted')
    return { givenUp, removed, freedBytes }
  })

/** Changes rows only. Returns the number of artifacts and snapshots given up. */
async function giveUp({ store, artifacts, config, log }: Deps, beat: Beat): Promise<number> {
  const budgetBytes = config.retention.artifactsMb * 1_048_576
  const groups = await findGroups({ store, artifacts })
  const { given, beforeBytes, afterBytes } = selectForDeletion(groups, budgetBytes)
  if (afterBytes > budgetBytes)
    log.warn({ beforeBytes, afterBytes, budgetBytes }, 'artifacts in use exceed their budget')
  let count = 0
  for (const { kind, digest } of given) {
    beat.check()
    const gone = await (kind === 'snapshot' ? deleteSnapshot : deleteArtifact)(store, digest)
    if (!gone) continue
    count++
    log.info({ [kind === 'snapshot' ? 'snapshot' : 'artifact']: digest, kind }, 'selected for deletion')
  }
  return count
}

type Sources = Pick<Deps, 'store' | 'artifacts'>

async function findGroups({ store, artifacts }: Sources): Promise<ArtifactGroup[]> {
  const files = await listAll(artifacts, 'artifacts')
  const tables = await listAll(artifacts, 'snapshots')
  const sized = (digests: readonly string[], among: Map<string, StoredFile>): Map<string, number> =>
    new Map(digests.flatMap((digest) => (among.has(digest) ? [[digest, among.get(digest)!.bytes]] : [])))
  const groups: ArtifactGroup[] = []
  for (const named of await listArtifacts(store))
    groups.push({ ...named, files: sized(await filesOf(artifacts, named, files), files) })
  for (const { subjects, ...named } of await listKeptSnapshots(store)) {
    const digests = [named.digest, subjects].filter((digest) => digest !== undefined)
    groups.push({ ...named, kind: 'snapshot', files: sized(digests, tables) })
  }
  return groups
}

/**
 * The manifest and the files it names. A missing manifest names nothing; an unreadable one stops the collection, because its files are
 * unknown.
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

/** Old files of an area without a row. Lists files before it reads rows, so that a file that gets its row in between is kept. */
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
  const snapshots = (await listKeptSnapshots(store)).flatMap(({ digest, subjects }) => [digest, subjects])
  return [...inputs, ...snapshots.filter((digest) => digest !== undefined)]
}

async function listAll(artifacts: Artifacts, area: Area): Promise<Map<string, StoredFile>> {
  const found = new Map<string, StoredFile>()
  for await (const file of artifacts.list(area)) found.set(file.digest, file)
  return found
}
