/** Signs a start for the user whose role was checked. The first activity of the workflow accepts the signature once. */
import type { Authorisation, StartType } from '../../domain/roles.ts'
import { readStartBasis } from '../../store/access/idempotency.ts'
import { signStart } from '../../store/signing/start-signatures.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'

export async function authorised<Request extends object>(
  { store, signer, serving }: Pick<CommandDeps, 'store' | 'signer' | 'serving'>,
  actor: Pick<Actor, 'id'>,
  type: StartType,
  request: Request,
): Promise<Request & { authorisation: Authorisation }> {
  const basis = await readStartBasis(store, request)
  const signedBy = { keyId: actor.id, nowMs: serving.wall() }
  return { ...request, authorisation: signStart(signer, { type, request, basis }, signedBy) }
}
