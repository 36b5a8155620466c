/** Asks for the reason of a command: suggestions of which one can be chosen, and a field. Both work without script. */
import { z } from 'zod'
import type { PageElement } from '../page.ts'

/** The fields of a form that `Reason` adds. */
export const reasonFields = {
  /** The chosen suggestion; `reason` adds to it. */
  why: z.string().max(200).default(''),
  reason: z.string().default(''),
}

/** Joins the chosen suggestion and the text: `Wrong data: since Monday`. */
export const givenReason = ({ why, reason }: { why: string; reason: string }): string =>
  [why, reason].filter((part) => part.trim() !== '').join(': ')

interface ReasonParts {
  /** The id of the field. */
  name: string
  suggestions?: readonly string[]
  isRequired: boolean
}

export const Reason = ({ name, suggestions = [], isRequired }: ReasonParts): PageElement => (
  <fieldset class="reasons">
    <legend>
      Reason <span class="hint">{isRequired ? 'logged' : 'optional, logged'} with your name</span>
    </legend>
    {suggestions.length > 0 && (
      <div class="chips">
        {[...suggestions, ...(isRequired ? ['Other'] : [])].map((word) => (
          <label>
            <input type="radio" name="why" value={word === 'Other' ? '' : word} required={isRequired} />
            {word}
          </label>
        ))}
      </div>
    )}
    <label for={name} class="aloud">
      Details
    </label>
    <input
      id={name}
      name="reason"
      maxlength={1_800}
      autocomplete="off"
      placeholder="Details"
      required={isRequired && suggestions.length === 0}
    />
  </fieldset>
)
