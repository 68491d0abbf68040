import RunnerCore
import UIKit

/// The status screen: what the runner is doing, for whoever looks at the phone. It asks and shows; it decides nothing.
final class StatusViewController: UIViewController {
  /// Everything the app does is in the readings it takes, so the screen is not livelier than need be.
  private static let refreshSeconds: TimeInterval = 1
  private static let margin: CGFloat = 24
  private static let spacing: CGFloat = 20

  private let status: () -> RunnerApp.Status?
  private let state = StatusRow(title: "State")
  private let trial = StatusRow(title: "Trial")
  private let phase = StatusRow(title: "Phase")
  private let footprint = StatusRow(title: "Footprint")
  private let limit = StatusRow(title: "Limit")

  init(status: @escaping () -> RunnerApp.Status?) {
    self.status = status
    super.init(nibName: nil, bundle: nil)
  }

  @available(*, unavailable)
  required init?(coder: NSCoder) {
    fatalError("there is no storyboard")
  }

  override func viewDidLoad() {
    super.viewDidLoad()
    view.backgroundColor = .systemBackground
    layOut(UIStackView(arrangedSubviews: [state, trial, phase, footprint, limit]))
    refresh()
    Timer.scheduledTimer(withTimeInterval: Self.refreshSeconds, repeats: true) { [weak self] _ in
      // A timer made on the main thread fires there.
      MainActor.assumeIsolated { self?.refresh() }
    }
  }

  /// In a scroll view: the largest text sizes do not fit on any screen.
  private func layOut(_ rows: UIStackView) {
    rows.axis = .vertical
    rows.spacing = Self.spacing
    rows.translatesAutoresizingMaskIntoConstraints = false
    let scroll = UIScrollView()
    scroll.translatesAutoresizingMaskIntoConstraints = false
    scroll.addSubview(rows)
    view.addSubview(scroll)
    let content = scroll.contentLayoutGuide
    NSLayoutConstraint.activate([
      scroll.topAnchor.constraint(equalTo: view.safeAreaLayoutGuide.topAnchor),
      scroll.bottomAnchor.constraint(equalTo: view.safeAreaLayoutGuide.bottomAnchor),
      scroll.leadingAnchor.constraint(equalTo: view.leadingAnchor),
      scroll.trailingAnchor.constraint(equalTo: view.trailingAnchor),
      rows.topAnchor.constraint(equalTo: content.topAnchor, constant: Self.margin),
      content.bottomAnchor.constraint(equalTo: rows.bottomAnchor, constant: Self.margin),
      rows.leadingAnchor.constraint(equalTo: view.readableContentGuide.leadingAnchor),
      rows.trailingAnchor.constraint(equalTo: view.readableContentGuide.trailingAnchor),
    ])
  }

  private func refresh() {
    let status = self.status()
    state.show(status?.state)
    trial.show(status?.trial)
    phase.show(status?.phase)
    footprint.show(status?.footprint.map(Self.mebibytes))
    limit.show(status?.limit.map(Self.mebibytes))
  }

  private static func mebibytes(_ bytes: Int64) -> String { "\(bytes / (1 << 20)) MiB" }
}

/// A title with a value below it. VoiceOver reads the two as one.
private final class StatusRow: UIStackView {
  private static let unknown = "–"
  private let value = UILabel()

  convenience init(title: String) {
    self.init(frame: .zero)
    axis = .vertical
    let heading = UILabel()
    heading.text = title
    heading.textColor = .secondaryLabel
    for (label, style) in [(heading, UIFont.TextStyle.headline), (value, .body)] {
      label.font = .preferredFont(forTextStyle: style)
      label.adjustsFontForContentSizeCategory = true
      label.numberOfLines = 0
      addArrangedSubview(label)
    }
    isAccessibilityElement = true
    accessibilityLabel = title
    accessibilityTraits = .updatesFrequently
    show(nil)
  }

  func show(_ text: String?) {
    let shown = text ?? Self.unknown
    // Setting the same text again would lay the screen out anew.
    if value.text == shown { return }
    value.text = shown
    accessibilityValue = text ?? "none"
  }
}
