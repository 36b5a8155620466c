/** Checks that the object store responds, keeps written objects, and accepts only one of two concurrent creations of an object. */
import { randomUUID } from 'node:crypto'
import { isError } from '../../domain/errors.ts'
import type { ObjectStore } from '../../store/objects/object-store.ts'
import { broken, ok, type Finding } from './finding.ts'

const check = 'object store'

/** Writes a small object and removes it. */
export async function checkObjectStore(store: ObjectStore): Promise<Finding> {
  const key = `doctor/${randomUUID()}`
  try {
    const first = await store.put(key, Buffer.from('first'), { ifAbsent: true })
    const second = await store.put(key, Buffer.from('second'), { ifAbsent: true })
    const kept = (await store.get(key))?.toString()
    await store.remove(key)
    if (first && !second && kept === 'first') return ok(check, `${store.address} keeps what is written`)
    const why = second
      ? 'lets every conditional write win (If-None-Match)'
      : `gave back ${JSON.stringify(kept)} for "first"`
    return broken(
      check,
      `${store.address} ${why}`,
      'Use an object store that honours conditional writes, such as Amazon S3, or a directory.',
    )
  } catch (error) {
    if (!isError(error, 'object_store_unavailable')) throw error
    return broken(
      check,
      error.message,
      'Correct TENURE_OBJECT_STORE, TENURE_S3_ENDPOINT, AWS_REGION or the key, or make the store reachable; predictions continue meanwhile.',
    )
  }
}
