/** Copies to the object store what Postgres has archived in a directory of this machine, and deletes what is copied. */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import type { Signer } from '../../../store/signing/signing-key.ts'
import { failure } from '../../client/client.ts'
import { decodeLogFile, encodeLogFile, isLogFile } from './log-segment.ts'
import { logKey } from './places.ts'

export interface LogShipment {
  store: ObjectStore
  /** Where Postgres archives. */
  spool: string
  systemId: string
  signer: Signer
}

/** Returns the names of the files that are in the store now. A file stays until it is. */
export async function shipLog({ store, spool, systemId, signer }: LogShipment): Promise<string[]> {
  const found = await readdir(spool)
  // What a base and the end of a timeline leave, and no restore reads.
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

/** This process may have been killed between the copy and the deletion. */
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
    detail: `${address} is there with other bytes: another copy of this database archives to the same place`,
    remedy: 'Stop one of the two, or give it a TENURE_BACKUP_TO of its own.',
  })
}
