/** Who is compared: one that never learns, one that learns by the calendar, and Tenure. */

export type Contender = 'never' | 'weekly' | 'tenure'
export const names: Record<Contender, string> = {
  never: 'never retrained',
  weekly: 'retrained weekly',
  tenure: 'Tenure',
}
export const contenders = Object.keys(names) as Contender[]
