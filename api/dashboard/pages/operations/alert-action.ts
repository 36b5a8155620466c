/** Acknowledges or resolves the selected groups of alerts from their form. */
import { z } from 'zod'
import { DomainError } from '../../../../domain/errors.ts'
import { groupPath } from '../../../../domain/monitoring/alert-groups.ts'
import type { RouteResponse, RouteRequest } from '../../../http/route.ts'
import type { ApiDeps } from '../../../deps.ts'
import { alertActions, updateAlertGroups } from '../../../services/alerts/update-alert.ts'
import { checkInput, formReason } from '../../../http/schemas.ts'
import { pageHeaders } from '../../security-headers.ts'

/** Each selected group is a field: `a17` is the group of alert 17. */
const form = z.looseObject({ action: z.enum(alertActions), reason: formReason })

export async function submitAlertAction(
  deps: ApiDeps,
  { actor, body }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { action, reason, ...fields } = checkInput(form, body, 'the form')
  const ids = Object.keys(fields).flatMap((name) => /^a(\d{1,15})$/.exec(name)?.[1] ?? [])
  if (ids.length === 0) throw new DomainError('invalid_request', 'the form selects no alerts: tick a box')
  const [first] = await updateAlertGroups(deps, actor!, { ids, action, reason })
  const location = ids.length === 1 && first !== undefined ? groupPath(first) : '/alerts'
  return { status: 303, headers: { ...pageHeaders, location } }
}
