/**
 * Stores on the disk the rollbacks that this replica received while Postgres was unreachable, so that a restart does not bring the
 * version back. A starting replica reads the rollbacks of all replicas on its disk, as it reads their routes. An order without a
 * signature of this installation is ignored.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import type { Signer, Verifier } from '../../../store/signing/signing-key.ts'

export interface PendingRollback {
  /** The id of the command. */
  id: string
  model: string
  /** The version that was rolled back. */
  version: string
  by: string
  reason: string
  /** `<key id>.<valid until, in milliseconds>.<signature of this installation>`: Postgres cannot be asked for the row of the order. */
  signature: string
}

export interface PendingRollbacks {
  /** The orders for a model. */
  of(model: string): PendingRollback[]
  list(): PendingRollback[]
  keep(order: PendingRollback): Promise<void>
  /** Deletes an order, on the disk for every replica of it. The routes on the disk must then be newer than the order. */
  drop(id: string): Promise<void>
  /** The key that signed an order that arrives; undefined for an invalid signature or an order older than a day. */
  keyOf(order: PendingRollback): string | undefined
  /** The key that signed a stored order, of any age, and when; undefined for an invalid signature. */
  senderOf(order: PendingRollback): { keyId: string; signedMs: number } | undefined
}

/** How long an order may be on its way to another replica. */
const validMs = 24 * 3_600_000

type Order = Omit<PendingRollback, 'signature'>

/** The signed bytes begin with their kind, so that a signature of another kind is never valid. */
const bytesOf = ({ id, model, version, by, reason }: Order, keyId: string, untilMs: number): Buffer =>
  Buffer.from(`tenure-rollback@1\n${canonicalJson({ id, model, version, by, reason, keyId, untilMs })}`)

export function signOrder(
  signer: Pick<Signer, 'sign'>,
  order: Order,
  { keyId, nowMs }: { keyId: string; nowMs: number },
): PendingRollback {
  // A decimal point would end the field.
  const untilMs = Math.floor(nowMs) + validMs
  const signed = signer.sign(bytesOf(order, keyId, untilMs)).toString('base64url')
  return { ...order, signature: `${keyId}.${untilMs}.${signed}` }
}

function senderOf(
  verifier: Verifier,
  { signature, ...order }: PendingRollback,
): { keyId: string; signedMs: number } | undefined {
  const [keyId = '', until = '', bytes = ''] = String(signature).split('.')
  const signedMs = Number(until) - validMs
  if (!Number.isFinite(signedMs)) return undefined
  const signed = bytesOf(order, keyId, Number(until))
  return verifier.verify(signed, Buffer.from(bytes, 'base64url'), signedMs) ? { keyId, signedMs } : undefined
}

/** Opens the stored orders. `slot`: the index of the process on this machine; each process writes its own files. */
export async function openPendingRollbacks(
  directory: string,
  { signer, slot, nowMs }: { signer: Signer; slot: string; nowMs: () => number },
): Promise<PendingRollbacks> {
  const nameOf = (id: string): string => `-${id.replaceAll(/[^\w-]/g, '_')}.json`
  const listNames = async (end: string): Promise<string[]> =>
    (await readdir(directory).catch(() => [])).filter((name) => name.endsWith(end))
  const orders = new Map<string, PendingRollback>()
  for (const name of await listNames('.json')) {
    const text = await readFile(join(directory, name), 'utf8').catch(() => '')
    const order = parsed(text)
    if (order !== undefined && senderOf(signer, order) !== undefined) orders.set(order.id, order)
  }
  return {
    keyOf(order) {
      const sender = senderOf(signer, order)
      return sender !== undefined && nowMs() < sender.signedMs + validMs ? sender.keyId : undefined
    },
    senderOf: (order) => senderOf(signer, order),
    of: (model) => [...orders.values()].filter((order) => order.model === model),
    list: () => [...orders.values()],
    async keep(order) {
      // In memory first: a full disk must not bring the version back.
      orders.set(order.id, order)
      const path = join(directory, slot + nameOf(order.id))
      await mkdir(directory, { recursive: true })
      await writeFile(`${path}.${process.pid}`, JSON.stringify(order), { mode: 0o600 })
      await rename(`${path}.${process.pid}`, path)
    },
    async drop(id) {
      orders.delete(id)
      for (const name of await listNames(nameOf(id))) await rm(join(directory, name), { force: true })
    },
  }
}

function parsed(text: string): PendingRollback | undefined {
  try {
    return JSON.parse(text) as PendingRollback
  } catch {
    return undefined
  }
}
