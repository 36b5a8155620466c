/** The part of jstat that domain/statistics/distributions.ts uses; the package ships no types. */
declare module 'jstat' {
  interface Continuous2 {
    cdf(x: number, a: number, b: number): number
    inv(p: number, a: number, b: number): number
  }
  interface Continuous1 {
    cdf(x: number, dof: number): number
    inv(p: number, dof: number): number
  }
  const jstat: {
    normal: Continuous2
    beta: Continuous2
    chisquare: Continuous1
    studentt: Continuous1
    binomial: { cdf(k: number, n: number, p: number): number; pdf(k: number, n: number, p: number): number }
    gammaln(x: number): number
  }
  export default jstat
}
