/** Acknowledges or resolves an alert from its form. */
import { DomainError } from '../../../../domain/errors.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { alertActions, updateAlert } from '../../../services/alerts/update-alert.ts'
import { pageHeaders } from '../../security-headers.ts'

export async function submitAlertAction(
  deps: ApiDeps,
  { actor, body, params }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const form = body as Record<string, string>
  const action = alertActions.find((each) => each === form['action'])
  if (action === undefined)
    throw new DomainError('invalid_request', `action: must be ${alertActions.join(' or ')}`)
  const reason = form['reason']?.trim() || undefined
  if (reason !== undefined && reason.length > 2_000)
    throw new DomainError('invalid_request', 'reason: must have at most 2,000 characters')
  const { id } = await updateAlert(deps, actor!, { id: params['id'] ?? '', action, reason })
  return { status: 303, headers: { ...pageHeaders, location: `/alerts#a${id}` } }
}
