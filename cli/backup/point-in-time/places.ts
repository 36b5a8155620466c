/** Names the objects of point-in-time recovery, and lists the bases among them. */
import type { ObjectStore } from '../../../store/objects/object-store.ts'

const root = 'point-in-time'

export const logKey = (systemId: string, name = ''): string => `${root}/log/${systemId}/${name}`
export const copyKey = (area: 'artifacts' | 'snapshots', digest = ''): string =>
  `${root}/${area}/${digest.slice('sha256:'.length)}`
export const headsKey = `${root}/heads.jsonl`
/** The object that records since when copies are unreferenced. */
export const unnamedKey = `${root}/unnamed-copies.json`

/** A copy of the data directory. The fields are encoded in the name of the object, so that choosing a base needs no download. */
export interface BaseName {
  key: string
  /** When the copy was complete, as ISO 8601. */
  endedAt: string
  systemId: string
  /** The first and last log file that a restore of this base must replay. */
  startSegment: string
  stopSegment: string
}

const basePattern =
  /^point-in-time\/base\/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-(\d+)-([0-9A-F]{24})-([0-9A-F]{24})\.tar$/

export function baseKey({ endedAt, systemId, startSegment, stopSegment }: Omit<BaseName, 'key'>): string {
  const time = new Date(endedAt).toISOString().replaceAll(/[-:.]/g, '')
  return `${root}/base/${time}-${systemId}-${startSegment}-${stopSegment}.tar`
}

/** Lists the bases, oldest first. */
export async function listBases(store: ObjectStore): Promise<BaseName[]> {
  const bases: BaseName[] = []
  for await (const { key } of store.list(`${root}/base/`)) {
    const [, year, month, day, hour, minute, second, ms, systemId, startSegment, stopSegment] =
      basePattern.exec(key) ?? []
    if (systemId === undefined || startSegment === undefined || stopSegment === undefined) continue
    const endedAt = `${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`
    bases.push({ key, endedAt, systemId, startSegment, stopSegment })
  }
  return bases
}

/** Lists the log files of a database. */
export async function listLog(
  store: ObjectStore,
  systemId: string,
): Promise<{ name: string; writtenMs: number }[]> {
  const prefix = logKey(systemId)
  const files: { name: string; writtenMs: number }[] = []
  for await (const { key, writtenMs } of store.list(prefix))
    files.push({ name: key.slice(prefix.length), writtenMs })
  return files
}
