/** Acknowledges or resolves an alert from its form. */
import { z } from 'zod'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { alertActions, updateAlert } from '../../../services/alerts/update-alert.ts'
import { checkInput, formReason } from '../../../http/schemas.ts'
import { pageHeaders } from '../../security-headers.ts'

const form = z.object({ action: z.enum(alertActions), reason: formReason })

export async function submitAlertAction(
  deps: ApiDeps,
  { actor, body, params }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { action, reason } = checkInput(form, body, 'the form')
  const { id } = await updateAlert(deps, actor!, { id: params['id'] ?? '', action, reason })
  return { status: 303, headers: { ...pageHeaders, location: `/alerts#a${id}` } }
}
