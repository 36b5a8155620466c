/** Copies the log files that Postgres has archived in a local directory to the object store, and deletes the copied files. */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import type { Signer } from '../../../store/signing/signing-key.ts'
import { failure } from '../../client/client.ts'
import { decodeLogFile, encodeLogFile, isLogFile } from './log-segment.ts'
import { logKey } from './places.ts'

export interface LogShipment {
  store: ObjectStore
  /** The directory to which Postgres archives. */
  spool: string
  systemId: string
  signer: Signer
}

/** Returns the names of the files that are now in the store. A file stays in the directory until it is copied. */
export async function shipLog({ store, spool, systemId, signer }: LogShipment): Promise<string[]> {
  const found = await readdir(spool)
  // A base backup and the end of a timeline leave these files; no restore reads them.
  for (const name of found) if (/\.(backup|partial)$/.test(name)) await rm(join(spool, name))
  const names = found.filter(isLogFile).toSorted()
  for (const name of names) {
    const bytes = await readFile(join(spool, name))
    const key = logKey(systemId, name)
    const object = await encodeLogFile({ systemId, name }, bytes, signer)
    if (!(await store.put(key, object, { ifAbsent: true })))
      await requireSameFile(store, { key, systemId, name, bytes, signer })
    await rm(join(spool, name))
  }
  return names
}

/** Checks that an existing object equals the file. An earlier process may have been killed between copying and deleting it. */
async function requireSameFile(
  store: ObjectStore,
  {
    key,
    systemId,
    name,
    bytes,
    signer,
  }: { key: string; systemId: string; name: string; bytes: Buffer; signer: Signer },
): Promise<void> {
  const address = `${store.address}/${key}`
  const object = await store.get(key)
  if (object === undefined) return
  const there = await decodeLogFile({ systemId, name }, object, { verifier: signer, address })
  if (there.equals(bytes)) return
  throw failure({
    code: 'otherwise',
    detail: `${address} already exists with other bytes: another copy of this database archives to the same place`,
    remedy: 'Stop one of the two databases, or set another TENURE_BACKUP_TO for it.',
  })
}
