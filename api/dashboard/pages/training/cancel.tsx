/** Renders and handles the form that cancels a running retraining. */
import type { ApiDeps } from '../../../deps.ts'
import type { RouteRequest, RouteResponse } from '../../../http/route.ts'
import { cancelRetraining } from '../../../services/start-retraining.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import type { PageElement } from '../../page.ts'
import { pageHeaders } from '../../security-headers.ts'

const pathOf = (id: string): string => `/retrainings/${encodeURIComponent(id)}`

export const CancelForm = ({ id, token }: { id: string; token: string }): PageElement => (
  <form class="filter" method="post" action={`${pathOf(id)}/cancel`} aria-label="Cancel the retraining">
    <TokenField token={token} />
    <button class="second">Cancel the retraining</button>
  </form>
)

export async function submitCancel(
  deps: ApiDeps,
  { actor, params }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { id } = await cancelRetraining(deps, actor!, { id: params['id'] ?? '' })
  return { status: 303, headers: { ...pageHeaders, location: pathOf(id) } }
}
