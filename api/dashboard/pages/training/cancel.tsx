/** Renders and handles the form that cancels a running retraining. */
import { z } from 'zod'
import { findRetraining } from '../../../../store/training/retrainings.ts'
import type { ApiDeps } from '../../../deps.ts'
import type { RouteRequest, RouteResponse } from '../../../http/route.ts'
import { checkInput, formReason } from '../../../http/schemas.ts'
import { cancelRetraining } from '../../../services/start-retraining.ts'
import { TokenField } from '../../components/csrf-field.tsx'
import { modelHref, retrainingHref } from '../../components/links.tsx'
import type { PageElement } from '../../page.ts'
import { pageHeaders } from '../../security-headers.ts'

const form = z.object({ reason: formReason })

export const CancelForm = ({ id, token }: { id: string; token: string }): PageElement => (
  <form
    class="filter"
    method="post"
    action={`${retrainingHref(id)}/cancel`}
    aria-label="Cancel the retraining"
  >
    <TokenField token={token} />
    <div class="wide-field">
      <label for="reason">Reason</label>
      <input
        id="reason"
        name="reason"
        maxlength={2_000}
        autocomplete="off"
        placeholder="Add a reason (optional)"
      />
    </div>
    <button class="second">Cancel the retraining</button>
  </form>
)

export async function submitCancel(
  deps: ApiDeps,
  { actor, body, params }: RouteRequest<unknown, unknown>,
): Promise<RouteResponse> {
  const { reason } = checkInput(form, body, 'the form')
  const { id, model } = await cancelRetraining(deps, actor!, { id: params['id'] ?? '', reason })
  // One that is cancelled as soon as it was started may never have a row to show.
  const location = (await findRetraining(deps.store, id)) ? retrainingHref(id) : modelHref(model)
  return { status: 303, headers: { ...pageHeaders, location } }
}
